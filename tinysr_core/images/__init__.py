"""Pictures in files: read with everything they carry, written whole or not at all."""

from .picture import Picture
from .reading import MAX_PIXELS, Header, from_pil, read_header, read_picture, read_rgb8
from .writing import FORMATS, to_pil, write_picture

__all__ = [
    "FORMATS",
    "MAX_PIXELS",
    "Header",
    "Picture",
    "from_pil",
    "read_header",
    "read_picture",
    "read_rgb8",
    "to_pil",
    "write_picture",
]
