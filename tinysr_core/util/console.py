"""What our programs print."""

import io
import sys


def escape_unprintable() -> None:
    """Have stdout write characters that its encoding lacks as escapes, as stderr does, instead of failing.

    Windows's consoles often have 256 characters, and files any name.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
