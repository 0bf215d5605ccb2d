"""Upscale a picture with everything that belongs to it: alpha, grey, size, post-processing.

`enhance` takes arrays, `enhance_picture` takes a `Picture`. `upscale` takes a file, a Pillow image or an array and does
everything in one call.
"""

from .api import upscale
from .picture import UNCHANGED, bleed, enhance, enhance_mask, enhance_picture

__all__ = ["UNCHANGED", "bleed", "enhance", "enhance_mask", "enhance_picture", "upscale"]
