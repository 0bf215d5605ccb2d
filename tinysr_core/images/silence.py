"""Keeping the decoders' own messages off the terminal."""

import io
import logging
import os
import sys
import warnings


def silence_decoders() -> None:
    """Let nothing but `sys.stderr` write to the terminal's error stream, and no library log.

    libtiff and other C libraries print to file descriptor 2 whatever Python says; it leads nowhere from here on, and
    `sys.stderr` gets a descriptor of its own. For a process of our own, once: what matters of a damaged file is an
    error or a note of `read_picture` in any case.
    """
    warnings.filterwarnings("ignore", module=r"PIL\.")
    for name in ("PIL", "tifffile", "imagecodecs"):
        logging.getLogger(name).addHandler(logging.NullHandler())
        logging.getLogger(name).propagate = False
    try:
        if sys.stderr is None or sys.stderr.fileno() != 2:
            return  # something stands in for it already
    except (io.UnsupportedOperation, ValueError):
        return
    sys.stderr.flush()
    own = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    sys.stderr = os.fdopen(own, "w", encoding=sys.stderr.encoding, errors=sys.stderr.errors, buffering=1)
