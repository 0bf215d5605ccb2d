"""What the batch scripts share. Runs in GIMP's own Python: standard library and gi only."""

import json
import random
import sys
from pathlib import Path

from gi.repository import Babl, Gegl, Gimp

FOLDER = Path(sys.argv[1])
RGB, GRAY = Gimp.ImageBaseType.RGB, Gimp.ImageBaseType.GRAY
SUCCESS = Gimp.PDBStatusType.SUCCESS
CALLING_ERROR = Gimp.PDBStatusType.CALLING_ERROR
EXECUTION_ERROR = Gimp.PDBStatusType.EXECUTION_ERROR
_KINDS = {
    (RGB, False): Gimp.ImageType.RGB_IMAGE,
    (RGB, True): Gimp.ImageType.RGBA_IMAGE,
    (GRAY, False): Gimp.ImageType.GRAY_IMAGE,
    (GRAY, True): Gimp.ImageType.GRAYA_IMAGE,
}


def image_of(width, height, base=RGB, precision=Gimp.Precision.U8_NON_LINEAR):
    return Gimp.Image.new_with_precision(width, height, base, precision)


def add_layer(image, width, height, alpha=False, x=0, y=0, parent=None, name="layer", seed=1, position=0):
    """A layer of random values, each possible one of its precision; with alpha, a corner is transparent."""
    kind = _KINDS[image.get_base_type(), alpha]
    layer = Gimp.Layer.new(image, name, width, height, kind, 100, Gimp.LayerMode.NORMAL)
    image.insert_layer(layer, parent, position)
    layer.set_offsets(x, y)
    fill(layer, seed)
    return layer


def fill(drawable, seed):
    width, height = drawable.get_width(), drawable.get_height()
    buffer = drawable.get_buffer()
    channels = {"RGB": 3, "RGBA": 4, "GRAY": 1, "GRAYA": 2}[drawable_kind(drawable)]
    rnd = random.Random(seed)
    values = bytearray(rnd.randbytes(width * height * channels))
    if drawable.has_alpha():
        for y in range(height // 3):
            for x in range(width // 3):
                values[(y * width + x) * channels + channels - 1] = 0
    name = {1: "Y' u8", 2: "Y'A u8", 3: "R'G'B' u8", 4: "R'G'B'A u8"}[channels]
    if isinstance(drawable, Gimp.Channel):
        name = "Y u8"
    name = Babl.get_name(Babl.format_with_space(name, drawable.get_format()))
    buffer.set(Gegl.Rectangle.new(0, 0, width, height), name, bytes(values))
    buffer.flush()
    drawable.update(0, 0, width, height)


def drawable_kind(drawable):
    if isinstance(drawable, Gimp.Channel):
        return "GRAY"
    return ("GRAY" if drawable.is_gray() else "RGB") + ("A" if drawable.has_alpha() else "")


def run(image, drawables, **arguments):
    """Call the plug-in without a display; returns the status and its first value, or the message."""
    procedure = Gimp.get_pdb().lookup_procedure("plug-in-tinysr")
    config = procedure.create_config()
    config.set_property("run-mode", Gimp.RunMode.NONINTERACTIVE)
    config.set_property("image", image)
    config.set_core_object_array("drawables", drawables)
    for name, value in arguments.items():
        config.set_property(name.replace("_", "-"), value)
    values = procedure.run(config)
    return values.index(0), values.index(1) if values.length() > 1 else None


def enlarge(image, drawables, **arguments):
    """Call the plug-in, which must succeed; returns the resulting image and the new layers, topmost first."""
    status, value = run(image, drawables, **arguments)
    assert status == SUCCESS, value
    selected = value.get_selected_layers()
    return value, [layer for layer in descendants(value.get_layers()) if layer in selected]


def descendants(layers):
    """All layers, topmost first."""
    for layer in layers:
        yield layer
        if layer.is_group():
            yield from descendants(layer.get_children())


def native(drawable, box=None):
    """The drawable's own values, unconverted."""
    x, y, width, height = box or (0, 0, drawable.get_width(), drawable.get_height())
    return drawable.get_buffer().get(Gegl.Rectangle.new(x, y, width, height), 1.0, None, Gegl.AbyssPolicy.NONE)


def save(source, result, box=None, **options):
    """Save a picture and its result for the test to compare. `box` is the part of `source` that was enlarged."""
    lines = FOLDER / "cases.jsonl"
    number = len(lines.read_text().splitlines()) if lines.exists() else 0
    record = {"options": {"model": "portrait", **{name.replace("_", "-"): value for name, value in options.items()}}}
    for role, drawable, part in (("source", source, box), ("result", result, None)):
        x, y, width, height = part or (0, 0, drawable.get_width(), drawable.get_height())
        file = f"{number}.{role}"
        (FOLDER / file).write_bytes(native(drawable, (x, y, width, height)))
        record[role] = {
            "file": file,
            "format": Babl.format_get_encoding(drawable.get_format()),
            "width": width,
            "height": height,
            "alpha": drawable.has_alpha(),
            "mask": isinstance(drawable, Gimp.Channel),
        }
    with lines.open("a") as stream:
        stream.write(json.dumps(record) + "\n")


def offsets(layer):
    return tuple(layer.get_offsets())[1:]
