"""Quality measurements: PSNR, SSIM, LPIPS and identity, tables over methods, and crops of the worst results."""

from .identity import FaceRecognizer
from .methods import by_name, network, spandrel_network
from .metrics import lpips_distance, psnr_y, texture_distance
from .table import Measurement, Method, as_csv, as_json, as_markdown, evaluate, interpolation, to_8_bits, to_float
from .worst import Worst

__all__ = [
    "FaceRecognizer",
    "Measurement",
    "Method",
    "Worst",
    "as_csv",
    "as_json",
    "as_markdown",
    "by_name",
    "evaluate",
    "interpolation",
    "lpips_distance",
    "network",
    "psnr_y",
    "spandrel_network",
    "texture_distance",
    "to_8_bits",
    "to_float",
]
