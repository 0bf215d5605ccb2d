"""The ComfyUI nodes. Their ids are stored in workflows and never change."""

from .load import TinySRLoader
from .sharpen_aa import TinySRSharpenAA
from .upscale import TinySRUpscale
from .upscale_video import TinySRUpscaleVideo

NODE_CLASS_MAPPINGS = {
    node.__name__: node for node in (TinySRLoader, TinySRUpscale, TinySRSharpenAA, TinySRUpscaleVideo)
}
NODE_DISPLAY_NAME_MAPPINGS = {
    "TinySRLoader": "Load TinySR",
    "TinySRUpscale": "TinySR Upscale",
    "TinySRSharpenAA": "TinySR Sharpen + AA",
    "TinySRUpscaleVideo": "TinySR Upscale Video",
}
