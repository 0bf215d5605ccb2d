"""The command `tinysr-finetune` and its recipes."""

import sys

from tinysr_core.errors import installs

try:
    import lightning  # noqa: F401  # pyright: ignore[reportUnusedImport]  # only checks that it is installed
except ModuleNotFoundError as error:
    sys.exit(f"tinysr-finetune: training needs {error.name}, which is not installed; {installs('train')} installs it.")
