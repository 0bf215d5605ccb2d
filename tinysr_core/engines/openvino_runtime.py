"""OpenVINO, imported without its conversion tools, and graphs that are ready to run.

The conversion tools take two thirds of the time of `import openvino`, and report every import to their makers over the
network. TinySR does not need them; others in the same process get them when they ask for them.
"""

import ctypes
import importlib
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..util import cores

TOOLS = "openvino.tools.ovc"
THREADS = "OMP_NUM_THREADS"
"""Bounds the threads of every numerical library; OpenVINO does not read it."""
OUT_OF_MEMORY = ("bad_alloc", "out of memory", "failed to allocate", "cannot allocate", "could not allocate")
"""How OpenVINO says it."""

if TOOLS not in sys.modules and "openvino" not in sys.modules:
    sys.modules[TOOLS] = None  # pyright: ignore[reportArgumentType]  # Python then refuses it, which OpenVINO allows for
    try:
        import openvino
    finally:
        del sys.modules[TOOLS]

    def _import_tools(name: str) -> Any:
        """What `openvino.NAME` gives where it is not there yet: the conversion tools are imported on first use."""
        if name not in ("convert_model", "tools"):
            raise AttributeError(f"module 'openvino' has no attribute {name!r}")
        tools = importlib.import_module(TOOLS)
        return tools.convert_model if name == "convert_model" else sys.modules["openvino.tools"]

    openvino.__getattr__ = _import_tools  # pyright: ignore[reportAttributeAccessIssue]
else:
    import openvino


class Compiled:
    """A graph for the CPU, for one thread at a time.

    `precision` hints of OpenVINO are off: float32 stays float32 on CPUs with bf16 too.
    """

    def __init__(self, model: openvino.Model) -> None:
        settings = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
        threads = _threads()
        if threads is not None:
            settings["INFERENCE_NUM_THREADS"] = threads
        with _signal_stack_kept():
            self._request = openvino.Core().compile_model(model, "CPU", settings).create_infer_request()

    def __call__(self, *inputs: NDArray[Any]) -> NDArray[np.float32]:
        """The graph's first output, in memory of its own.

        Raises:
            MemoryError: the inputs are too large.
        """
        try:
            return self._request.infer(inputs, share_inputs=True)[0]
        except RuntimeError as error:
            if any(words in str(error).lower() for words in OUT_OF_MEMORY):
                raise MemoryError(str(error)) from error
            raise


def _threads() -> str | None:
    """How many threads OpenVINO is given; None where it may use what it finds, which are physical cores."""
    asked = os.environ.get(THREADS, "")
    if asked.isdecimal():
        return asked
    return str(cores()) if cores() < (os.cpu_count() or 1) else None


def cpu_name() -> str:
    """What the processor calls itself."""
    with _signal_stack_kept():
        return str(openvino.Core().get_property("CPU", "FULL_DEVICE_NAME"))


class _SignalStack(ctypes.Structure):
    """The `stack_t` of Linux."""

    _fields_ = (("address", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


@contextmanager
def _signal_stack_kept() -> Generator[None]:
    """OpenVINO's CPU plug-in gives the thread a stack for signals and may free it later: Python's handlers, of Ctrl-C
    or of a child process that ends, then crash. Afterwards the thread has what it had before."""
    if sys.platform != "linux":
        yield
        return
    library, before = ctypes.CDLL(None), _SignalStack()
    library.sigaltstack(None, ctypes.byref(before))
    try:
        yield
    finally:
        library.sigaltstack(ctypes.byref(before), None)
