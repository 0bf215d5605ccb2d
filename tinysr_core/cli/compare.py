"""`tinysr compare`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from .terminal import say


@dataclass(frozen=True)
class Compare:
    """Write one HTML page with a slider between two pictures. It needs no other file and no network.

    Example: tinysr compare photo.jpg photo_x2.jpg -o compare.html
    """

    a: Annotated[Positional[Path], arg(metavar="A")]
    """The picture on the left, shown at the size of B."""
    b: Annotated[Positional[Path], arg(metavar="B")]
    """The picture on the right."""
    output: Annotated[Path, arg(aliases=["-o"], metavar="PAGE")] = Path("compare.html")
    """The page to write. An existing one is replaced."""

    def run(self) -> int:
        from .compare_page import write_page

        write_page(self.a, self.b, self.output)
        say(f"Wrote {self.output}; open it in a browser.")
        return 0
