"""`python -m tinysr_core.cli` is the command `tinysr`."""

from .main import script

if __name__ == "__main__":
    script()
