"""`tinysr info`."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import Positional, arg

from ..model import SUFFIX, read_info
from .models import model_facts
from .options import Json


@dataclass(frozen=True)
class Info:
    """Show the facts of a checkpoint (its model card) or of a picture.

    Example: tinysr info photo.jpg
    """

    file: Annotated[Positional[Path], arg(metavar="FILE")]
    """A .safetensors file or a picture."""
    json: Json = False

    def run(self) -> int:
        facts = model_facts(read_info(self.file)) if self.file.suffix == SUFFIX else _picture_facts(self.file)
        if self.json:
            print(json.dumps(facts, indent=2))
        else:
            _show(facts)
        return 0


def _picture_facts(path: Path) -> dict[str, Any]:
    """The facts of a picture. Raises PictureError where it cannot be read."""
    from ..images import read_picture

    picture = read_picture(path)
    return {
        "path": str(path),
        "width": picture.width,
        "height": picture.height,
        "colours": "grey" if picture.grey else "RGB",
        "alpha": picture.alpha is not None,
        "bits": picture.bits,
        "dpi": picture.dpi,
        "icc_bytes": len(picture.icc or b""),
        "exif_bytes": len(picture.exif or b""),
        "notes": list(picture.notes),
    }


def _show(facts: Mapping[str, Any], indent: str = "") -> None:
    """Print names and values, nested ones indented."""
    for key, value in facts.items():
        if isinstance(value, Mapping):
            print(f"{indent}{key}:")
            _show(value, indent + "  ")
        else:
            print(f"{indent}{key}: {value}")
