"""Choose the engine that runs a network, by the table below. Needs no torch on machines without a GPU."""

import ctypes
import logging
import platform
import sys
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, NamedTuple, cast

from ..errors import RequestError, installs
from ..model import Checkpoint
from .engine import Engine, EngineName, Precision

Place = Literal["GPU", "CPU"]


class Support(NamedTuple):
    """An engine on a kind of device, and the precisions that it supports there."""

    place: Place
    engine: EngineName
    precisions: tuple[Precision, ...]


TABLE = (
    Support("GPU", "torch", ("fp32", "fp16", "bf16")),  # auto: fp16 on CUDA devices that are good at it, else fp32
    Support("CPU", "openvino", ("fp32", "int8")),  # auto: int8 if its result is as good, else fp32
    Support("CPU", "torch", ("fp32", "bf16")),  # auto: bf16 if the CPU supports it, else fp32
)
"""The first row that fits the request, and whose device and package are available, runs the network. OpenVINO has no
bf16 here, because it would also round the picture itself to bf16."""

MISSING = f"OpenVINO is not installed ({installs('cpu')} adds it)"


def load_engine(
    checkpoint: Checkpoint,
    engine: EngineName = "auto",
    device: str = "auto",
    precision: Precision = "auto",
    cache: Path | None = None,
) -> Engine:
    """The engine for a network. If OpenVINO is missing or fails, torch is the fallback, which is logged.

    Args:
        checkpoint: the network.
        engine: auto, torch or openvino.
        device: auto, cpu, or a device name of torch.
        precision: the precision of the convs.
        cache: the folder for calibrations of int8; None: they are not saved.

    Raises:
        RequestError: the device is not available, or the engine or the device does not support the precision.
    """
    row = _choose(engine, device, precision)
    if row.engine == "openvino":
        try:
            from .openvino_engine import OpenVinoEngine

            return OpenVinoEngine(checkpoint, cast('Literal["auto", "fp32", "int8"]', precision), cache)
        except (ImportError, OSError, RuntimeError) as error:
            missing = isinstance(error, ModuleNotFoundError)
            reason = MISSING if missing else f"OpenVINO failed ({str(error).strip().splitlines()[0]})"
            if precision == "int8":
                raise RequestError(f"{reason}; int8 needs it, so choose another precision.") from error
            logging.getLogger(__name__).warning("%s; falling back to PyTorch, which is slower.", reason)
    from .torch_engine import TorchEngine  # imports torch

    place = "cpu" if row.place == "CPU" else device
    return TorchEngine.from_checkpoint(checkpoint, place, cast('Literal["auto", "fp32", "fp16", "bf16"]', precision))


def preload() -> None:
    """Import the engine that `auto` chooses on this machine, so that the first network loads faster."""
    import_module(f".{_choose('auto', 'auto', 'auto').engine}_engine", __package__)


def usable_gpus(engine: EngineName, device: str, precision: Precision) -> tuple[str, ...]:
    """The GPUs that can run a network with these options, by torch's names; empty if a CPU runs it.

    Raises:
        RequestError: no engine supports these options.
    """
    if _choose(engine, device, precision).place == "CPU":
        return ()
    import torch

    from .torch_engine import accelerator

    kind = (accelerator() or "") if device == "auto" else device
    counts = {"cuda": torch.cuda.device_count, "xpu": torch.xpu.device_count}
    return tuple(f"{kind}:{i}" for i in range(counts[kind]())) if kind in counts else (kind,)


def gpu_is_likely() -> bool:
    """Whether there may be a GPU that torch can use. Unlike importing torch, this is quick."""
    if sys.platform == "darwin":
        return platform.machine() == "arm64"
    if Path("/dev/kfd").exists() or _torch_version().endswith("+xpu"):  # AMD's driver; torch's build for Intel's GPUs
        return True
    try:
        cuda = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    count = ctypes.c_int()
    return cuda.cuInit(0) == 0 and cuda.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0


def _choose(engine: EngineName, device: str, precision: Precision) -> Support:
    kind = device.partition(":")[0]  # without the index
    places = {"auto": ("GPU", "CPU"), "cpu": ("CPU",)}.get(kind, ("GPU",))
    rows = [row for row in TABLE if row.place in places and engine in ("auto", row.engine)]
    if device == "auto" and rows and rows[0].place == "GPU" and not _gpu_is_there():
        rows = [row for row in rows if row.place == "CPU"]
    if not rows:
        raise RequestError(f"{engine} does not run on the device {device}; leave one of them out.")
    fitting = [row for row in rows if precision in ("auto", *row.precisions)]
    if not fitting:
        where = device if "GPU" in places and device != "auto" else "the CPU"
        possible = sorted({other for row in rows for other in row.precisions})
        whose = "" if engine == "auto" else f" with {engine}"
        raise RequestError(f"{precision} is not possible on {where}{whose}; choose auto, {', '.join(possible)}.")
    installed = (row for row in fitting if row.engine == "torch" or find_spec("openvino") is not None)
    return next(installed, fitting[0])


def _gpu_is_there() -> bool:
    if not gpu_is_likely():
        return False
    from .torch_engine import accelerator

    return accelerator() is not None


def _torch_version() -> str:
    try:
        return version("torch")
    except PackageNotFoundError:
        return ""
