"""Pictures in files: read with everything they carry, written whole or not at all."""

from .picture import Picture
from .reading import MAX_PIXELS, read_picture
from .writing import FORMATS, write_picture

__all__ = ["FORMATS", "MAX_PIXELS", "Picture", "read_picture", "write_picture"]
