"""OpenVINO, imported without its conversion tools, and compiled graphs.

The conversion tools take two thirds of the time of `import openvino`, and send telemetry about every import. TinySR
does not need them. Other code in the same process can still use them; they are then imported on first use.
"""

import ctypes
import importlib
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..util import cores

TOOLS = "openvino.tools.ovc"
THREADS = "OMP_NUM_THREADS"
"""The environment variable that limits the threads of numerical libraries. OpenVINO itself ignores it."""
OUT_OF_MEMORY = ("bad_alloc", "out of memory", "failed to allocate", "cannot allocate", "could not allocate")
"""Parts of OpenVINO's messages about too little memory."""

if TOOLS not in sys.modules and "openvino" not in sys.modules:
    sys.modules[TOOLS] = None  # pyright: ignore[reportArgumentType]  # its import then fails, which OpenVINO handles
    try:
        import openvino
    finally:
        del sys.modules[TOOLS]

    def _import_tools(name: str) -> Any:
        """Import the conversion tools on first use of `openvino.NAME`."""
        if name not in ("convert_model", "tools"):
            raise AttributeError(f"module 'openvino' has no attribute {name!r}")
        tools = importlib.import_module(TOOLS)
        return tools.convert_model if name == "convert_model" else sys.modules["openvino.tools"]

    openvino.__getattr__ = _import_tools  # pyright: ignore[reportAttributeAccessIssue]  # PEP 562: modules may have one
else:
    import openvino


class Compiled:
    """A graph compiled for the CPU. Several threads may call it; they wait if more than `streams` do so at a time.

    float32 stays float32. By default, OpenVINO would compute in bf16 on CPUs that have it.

    Args:
        model: the graph.
        streams: how many calls run at the same time. They share the cores.
    """

    def __init__(self, model: openvino.Model, streams: int = 1) -> None:
        settings = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": str(streams)}
        threads = _threads()
        if threads is not None:
            # Other processes use the other cores. If all pinned their threads, they would pin them to the same ones.
            settings |= {"INFERENCE_NUM_THREADS": threads, "ENABLE_CPU_PINNING": "NO"}
        self._free: SimpleQueue[openvino.InferRequest] = SimpleQueue()
        with _keep_signal_stack():
            compiled = openvino.Core().compile_model(model, "CPU", settings)
            for _ in range(streams):
                self._free.put(compiled.create_infer_request())

    def __call__(self, *inputs: NDArray[Any]) -> NDArray[np.float32]:
        """The graph's first output, in its own memory.

        Raises:
            MemoryError: the inputs are too large.
        """
        request = self._free.get()
        try:
            return request.infer(inputs, share_inputs=True)[0]
        except RuntimeError as error:
            if any(words in str(error).lower() for words in OUT_OF_MEMORY):
                raise MemoryError(str(error)) from error
            raise
        finally:
            self._free.put(request)


def _threads() -> str | None:
    """Number of threads for OpenVINO; None for its default, the number of physical cores."""
    requested = os.environ.get(THREADS, "")
    if requested.isdecimal():
        return requested
    return str(cores()) if cores() < (os.cpu_count() or 1) else None


def cpu_name() -> str:
    """The name of the processor."""
    with _keep_signal_stack():
        return str(openvino.Core().get_property("CPU", "FULL_DEVICE_NAME"))


class _SignalStack(ctypes.Structure):
    """`stack_t` of Linux."""

    _fields_ = (("address", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


@contextmanager
def _keep_signal_stack() -> Generator[None]:
    """Restore the thread's signal stack after the block.

    OpenVINO's CPU plug-in sets a signal stack and may free it later. Python's signal handlers, for example for Ctrl-C
    or for a child process that ended, would then crash.
    """
    if sys.platform != "linux":
        yield
        return
    library, before = ctypes.CDLL(None), _SignalStack()
    library.sigaltstack(None, ctypes.byref(before))
    try:
        yield
    finally:
        library.sigaltstack(ctypes.byref(before), None)
