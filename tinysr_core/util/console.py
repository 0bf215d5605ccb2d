"""Console output in any encoding."""

import io
import sys


def escape_unprintable() -> None:
    """Make stdout escape characters that its encoding lacks, as stderr does, instead of raising UnicodeEncodeError.

    Consoles on Windows often have 256 characters, while file names can contain any.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
