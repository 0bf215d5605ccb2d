"""Which engine runs a network, in which precision: the table below decides. Needs no torch where no GPU is."""

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
    """What an engine can do on a kind of device."""

    place: Place
    engine: EngineName
    precisions: tuple[Precision, ...]


TABLE = (
    Support("GPU", "torch", ("fp32", "fp16", "bf16")),  # auto: fp16 on CUDA cards that are good at it, else fp32
    Support("CPU", "openvino", ("fp32", "int8")),  # auto: int8 where its result is as good, else fp32
    Support("CPU", "torch", ("fp32", "bf16")),  # auto: bf16 where the CPU computes in it, else fp32
)
"""The first row that fits what was asked for, and whose device and package are there, runs the network. OpenVINO is not
asked for bf16, because it rounds the picture itself to it."""

MISSING = f"OpenVINO is not installed ({installs('cpu')} adds it)"


def load_engine(
    checkpoint: Checkpoint,
    engine: EngineName = "auto",
    device: str = "auto",
    precision: Precision = "auto",
    cache: Path | None = None,
) -> Engine:
    """The engine for a network. Where OpenVINO is missing or fails, torch takes its place; a log line says so.

    Args:
        checkpoint: the network.
        engine: auto, torch or openvino.
        device: auto, cpu, or what torch calls a device.
        precision: that of the convs.
        cache: the folder where engines keep what they find out about a network; None keeps nothing.

    Raises:
        RequestError: the device is not there, or the engine or the device cannot run that precision.
    """
    row = _choose(engine, device, precision)
    if row.engine == "openvino":
        try:
            from .openvino_engine import OpenVinoEngine

            return OpenVinoEngine(checkpoint, cast('Literal["auto", "fp32", "int8"]', precision), cache)
        except (ImportError, OSError, RuntimeError) as error:
            missing = isinstance(error, ModuleNotFoundError)
            trouble = MISSING if missing else f"OpenVINO failed ({str(error).strip().splitlines()[0]})"
            if precision == "int8":
                raise RequestError(f"{trouble}; int8 needs it, choose another precision.") from error
            logging.getLogger(__name__).warning("%s; torch runs the network, more slowly.", trouble)
    from .torch_engine import TorchEngine  # imports torch: only where it runs a network

    on = "cpu" if row.place == "CPU" else device
    return TorchEngine.from_checkpoint(checkpoint, on, cast('Literal["auto", "fp32", "fp16", "bf16"]', precision))


def preload() -> None:
    """Import what `auto` takes on this machine, so that the first network is there sooner."""
    import_module(f".{_choose('auto', 'auto', 'auto').engine}_engine", __package__)


def usable_gpus(engine: EngineName, device: str, precision: Precision) -> tuple[str, ...]:
    """The GPUs that may run a network so, as torch names them; empty where a CPU runs it.

    Raises:
        RequestError: nothing can run it so.
    """
    if _choose(engine, device, precision).place == "CPU":
        return ()
    import torch

    from .torch_engine import accelerator

    kind = (accelerator() or "") if device == "auto" else device
    counts = {"cuda": torch.cuda.device_count, "xpu": torch.xpu.device_count}
    return tuple(f"{kind}:{i}" for i in range(counts[kind]())) if kind in counts else (kind,)


def gpu_is_likely() -> bool:
    """Whether there is a GPU that torch may be able to use. Quick where there is none, as importing torch is not."""
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
    kind = device.partition(":")[0]  # without the number
    places = {"auto": ("GPU", "CPU"), "cpu": ("CPU",)}.get(kind, ("GPU",))
    rows = [row for row in TABLE if row.place in places and engine in ("auto", row.engine)]
    if device == "auto" and rows and rows[0].place == "GPU" and not _gpu_is_there():
        rows = [row for row in rows if row.place == "CPU"]
    if not rows:
        raise RequestError(f"{engine} does not run on the device {device}; leave out one of them.")
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
