"""Run a network over a picture of any size: tiles, memory, and one module per runtime.

Start with `load_upscaler`. The torch engine is imported only when it runs a network. OpenVINO needs no torch.
"""

from typing import TYPE_CHECKING

from ..util import lazy_getattr
from .engine import Engine, EngineName, Precision
from .options import RunOptions, load_upscaler
from .select import load_engine, preload, usable_gpus
from .upscaler import AutoUpscaler, Upscaler, beyond_scale

if TYPE_CHECKING:
    from .ncnn_export import export_ncnn
    from .onnx_export import OnnxPrecision, export_onnx
    from .torch_engine import TorchEngine, computes_in_bf16, inference, is_out_of_memory

__all__ = [
    "AutoUpscaler",
    "Engine",
    "EngineName",
    "OnnxPrecision",
    "Precision",
    "RunOptions",
    "TorchEngine",
    "Upscaler",
    "beyond_scale",
    "computes_in_bf16",
    "export_ncnn",
    "export_onnx",
    "inference",
    "is_out_of_memory",
    "load_engine",
    "load_upscaler",
    "preload",
    "usable_gpus",
]

__getattr__ = lazy_getattr(
    __name__,
    {
        "OnnxPrecision": "onnx_export",
        "export_ncnn": "ncnn_export",
        "export_onnx": "onnx_export",
        "TorchEngine": "torch_engine",
        "computes_in_bf16": "torch_engine",
        "inference": "torch_engine",
        "is_out_of_memory": "torch_engine",
    },
)
