"""The command `tinysr-finetune`, and its recipes."""

import sys

from tinysr_core.errors import installs

try:
    import lightning  # noqa: F401  # pyright: ignore[reportUnusedImport]  # only to see that it is there
except ModuleNotFoundError as error:
    sys.exit(f"tinysr-finetune: training needs {error.name}, which is not installed; {installs('train')} adds it.")
