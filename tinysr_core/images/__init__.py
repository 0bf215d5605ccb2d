"""Picture files: read with all their metadata, written whole or not at all; folders of photographs.

Nothing here imports torch.
"""

from .attachments import Keep
from .degradation import Clean, choose_clean, jpeg_quality, jpeg_quality_of_table
from .formats import FORMATS
from .photos import PhotoCache, Pixels8, decode, fingerprint, list_photos, map_photos, shrink_factor
from .picture import ColourTags, GainMap, JpegEncoding, Note, Picture, Subsampling, Text
from .reading import MAX_PIXELS, Header, from_pil, read_header, read_picture, read_rgb8
from .silence import silence_decoders
from .writing import to_pil, write_picture

__all__ = [
    "FORMATS",
    "MAX_PIXELS",
    "Clean",
    "ColourTags",
    "GainMap",
    "Header",
    "JpegEncoding",
    "Keep",
    "Note",
    "PhotoCache",
    "Picture",
    "Pixels8",
    "Subsampling",
    "Text",
    "choose_clean",
    "decode",
    "fingerprint",
    "from_pil",
    "jpeg_quality",
    "jpeg_quality_of_table",
    "list_photos",
    "map_photos",
    "read_header",
    "read_picture",
    "read_rgb8",
    "shrink_factor",
    "silence_decoders",
    "to_pil",
    "write_picture",
]
