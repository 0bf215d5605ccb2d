"""Keep the messages of decoders off the terminal."""

import io
import logging
import os
import sys
import warnings


def silence_decoders() -> None:
    """Silence the warnings and logs of decoders in this process, including those of C libraries.

    libtiff and other C libraries print to file descriptor 2. It is redirected to the null device, and `sys.stderr` gets
    another descriptor. Call this once, in a process of our own: `read_picture` reports what matters of a damaged file.
    """
    warnings.filterwarnings("ignore", module=r"PIL\.")
    for name in ("PIL", "tifffile", "imagecodecs"):
        logging.getLogger(name).addHandler(logging.NullHandler())
        logging.getLogger(name).propagate = False
    try:
        if sys.stderr is None or sys.stderr.fileno() != 2:
            return  # stderr is replaced or redirected already
    except (io.UnsupportedOperation, ValueError):
        return
    sys.stderr.flush()
    own = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    sys.stderr = os.fdopen(own, "w", encoding=sys.stderr.encoding, errors=sys.stderr.errors, buffering=1)
