"""The user changes the image while its results are computed. The worker's place is taken by one that does it."""

import sys
from pathlib import Path

from gi.repository import Gimp
from helper import add_layer, fill, image_of

sys.path.insert(0, str(Path(Gimp.directory()) / "plug-ins" / "tinysr-gimp"))

from tinysr_gimp.enlarge import enlarge  # the path above leads to it
from tinysr_gimp.options import Options
from tinysr_gimp.sources import RefusalError
from tinysr_gimp.worker_client import Result


class Meddler:
    def __init__(self, change):
        self.change = change

    def compute(self, request, pixels, progress):
        assert sum(len(strip) for strip in pixels) == request["width"] * request["height"] * request["channels"] * 4
        self.change()
        size = request["result_width"] * request["result_height"] * request["channels"] * 4
        return Result(iter([bytes(size)]), False, ())


def options(output):
    config = Gimp.get_pdb().lookup_procedure("plug-in-tinysr").create_config()
    config.set_property("output", output)
    return Options.of(config)


def state(image):
    return image.get_width(), [layer.get_name() for layer in image.get_layers()]


CHANGES = {
    "size": lambda image, layer: image.resize(50, 50, 3, 3),
    "scale": lambda image, layer: image.scale(60, 40),
    "rotation": lambda image, layer: image.rotate(Gimp.RotationType.DEGREES180),
    "layer deleted": lambda image, layer: image.remove_layer(layer),
    "layer moved": lambda image, layer: layer.set_offsets(1, 1),
    "painted on": lambda image, layer: fill(layer, 99),
    "mask changed": lambda image, layer: fill(layer.get_mask(), 99),
}
for output in ("scale-image", "replace-image", "same-size-layer", "new-layer", "replace-layer"):
    for name, change in CHANGES.items():
        image = image_of(30, 20)
        add_layer(image, 30, 20, name="below")
        layer = add_layer(image, 30, 20, alpha=True, name="layer", seed=2)
        layer.add_mask(layer.create_mask(Gimp.AddMaskType.WHITE))
        after = []

        def meddle(image=image, layer=layer, change=change, after=after):
            if not after:
                change(image, layer)
                after.append(state(image))

        try:
            enlarge(Meddler(meddle), image, [layer], options(output))
        except RefusalError as refusal:
            assert "image changed" in str(refusal), refusal
        else:
            raise AssertionError(f"{output}: {name} was not noticed")
        assert [state(image)] == after, (output, name)
        image.delete()

# a new image needs the old one no more
image = image_of(30, 20)
layer = add_layer(image, 30, 20, name="layer")
new = enlarge(Meddler(image.delete), image, [layer], options("new-image"))
assert (new.get_width(), new.get_layers()[0].get_name()) == (60, "layer")
