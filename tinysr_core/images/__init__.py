"""Pictures in files: read with everything they carry, written whole or not at all; folders of photographs.

Nothing here imports torch.
"""

from .photos import PhotoCache, Pixels8, decode, fingerprint, list_photos, map_photos, shrink_factor
from .picture import Picture
from .reading import MAX_PIXELS, Header, from_pil, read_header, read_picture, read_rgb8
from .writing import FORMATS, to_pil, write_picture

__all__ = [
    "FORMATS",
    "MAX_PIXELS",
    "Header",
    "PhotoCache",
    "Picture",
    "Pixels8",
    "decode",
    "fingerprint",
    "from_pil",
    "list_photos",
    "map_photos",
    "read_header",
    "read_picture",
    "read_rgb8",
    "shrink_factor",
    "to_pil",
    "write_picture",
]
