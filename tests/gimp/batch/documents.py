"""Layered documents: what is seen before is seen afterwards, larger or in place."""

import random
import struct
from pathlib import Path

from gi.repository import Babl, Gegl, Gimp, Gio
from helper import SUCCESS, add_layer, descendants, enlarge, image_of, native, offsets, run

WHITE, RED, BLUE = (1.0, 1.0, 1.0, 1.0), (1.0, 0.0, 0.0, 1.0), (0.0, 0.0, 1.0, 1.0)
PASS_THROUGH, MULTIPLY = Gimp.LayerMode.PASS_THROUGH, Gimp.LayerMode.MULTIPLY


def flat(image, width, height, colour, x=0, y=0, parent=None, name="layer", mode=Gimp.LayerMode.NORMAL, opacity=100):
    """A layer of one colour."""
    layer = Gimp.Layer.new(image, name, width, height, Gimp.ImageType.RGBA_IMAGE, opacity, mode)
    image.insert_layer(layer, parent, 0)
    layer.set_offsets(x, y)
    set_pixels(layer, struct.pack("4f", *colour) * (width * height))
    return layer


def set_pixels(drawable, values):
    form = Babl.get_name(Babl.format_with_space("R'G'B'A float", drawable.get_format()))
    buffer = drawable.get_buffer()
    buffer.set(Gegl.Rectangle.new(0, 0, drawable.get_width(), drawable.get_height()), form, values)
    buffer.flush()
    drawable.update(0, 0, drawable.get_width(), drawable.get_height())


def group(image, parent=None, mode=Gimp.LayerMode.NORMAL, opacity=100, name="group"):
    made = Gimp.GroupLayer.new(image, name)
    image.insert_layer(made, parent, 0)
    made.set_mode(mode)
    made.set_opacity(opacity)
    return made


def seen(image, x, y):
    """The colour that the user sees at a place."""
    copy = image.duplicate()
    layer = copy.merge_visible_layers(Gimp.MergeType.CLIP_TO_IMAGE)
    form = Babl.get_name(Babl.format_with_space("R'G'B'A float", layer.get_format()))
    value = layer.get_buffer().get(Gegl.Rectangle.new(x, y, 1, 1), 1.0, form, Gegl.AbyssPolicy.NONE)
    copy.delete()
    return struct.unpack("4f", value)


def same(found, expected, tolerance=0.02):
    assert max(abs(a - b) for a, b in zip(found, expected, strict=True)) < tolerance, (found, expected)


def coverage(channel, x, y):
    value = channel.get_buffer().get(Gegl.Rectangle.new(x, y, 1, 1), 1.0, "Y float", Gegl.AbyssPolicy.NONE)
    return struct.unpack("f", value)[0]


def named(image, name):
    return next(layer for layer in descendants(image.get_layers()) if layer.get_name() == name)


# the networks of the tests have random weights; `fidelity` is shipped, and keeps flat colours
MODEL = {"model": "fidelity"}

# a selection in a layer that is not opaque, or mixes with what lies below, is not applied twice
for output, factor in (("same-size-layer", 1), ("scale-image", 2)):
    for look in ({"mode": MULTIPLY}, {"opacity": 50}, {"colour": (1.0, 0.2, 0.2, 0.5)}):
        image = image_of(60, 60)
        flat(image, 60, 60, (0.8, 0.8, 0.8, 1.0))
        layer = flat(image, 60, 60, look.pop("colour", (0.5, 0.2, 0.2, 1.0)), name="top", **look)
        image.select_ellipse(Gimp.ChannelOps.REPLACE, 10, 10, 40, 40)
        Gimp.Selection.feather(image, 8)
        places = [(30, 30), (12, 30), (3, 3), (30, 47)]
        before = [seen(image, *place) for place in places]
        result, (top,) = enlarge(image, [layer], output=output, **MODEL)
        for (x, y), colour in zip(places, before, strict=True):
            same(seen(result, x * factor, y * factor), colour)
        assert not layer.get_visible()
        assert (top.get_mode(), top.get_opacity()) == (layer.get_mode(), layer.get_opacity())
        assert (top.get_width(), offsets(top)) == (60 * factor, (0, 0))

# over an opaque layer it becomes a mask, its soft edge with it
image = image_of(60, 60)
layer = flat(image, 60, 60, (0.5, 0.2, 0.2, 1.0))
image.select_rectangle(Gimp.ChannelOps.REPLACE, 15, 15, 30, 30)
Gimp.Selection.feather(image, 10)
selection = image.get_selection()
soft = {(x, 30): coverage(selection, x, 30) for x in (9, 12, 15, 18, 30)}
_, (result,) = enlarge(image, [layer], output="same-size-layer", **MODEL)
left, top = offsets(result)
for (x, y), value in soft.items():
    assert abs(coverage(result.get_mask(), x - left, y - top) - value) < 0.01
assert layer.get_visible()
image.remove_layer(result)
# the image's own selection becomes larger without a softer edge
image.select_rectangle(Gimp.ChannelOps.REPLACE, 4, 6, 10, 12)
_, (result,) = enlarge(image, [layer], output="scale-image", **MODEL)
assert Gimp.Selection.bounds(image)[1:] == (True, 8, 12, 28, 36)
assert coverage(image.get_selection(), 8, 12) == 1
assert (offsets(result), result.get_width(), result.get_height()) == ((8, 12), 20, 24)
assert result.get_mask() is None  # a rectangle needs none

# the layer's mask and the selection's shape together
image = image_of(40, 40)
layer = flat(image, 40, 40, RED)
mask = layer.create_mask(Gimp.AddMaskType.WHITE)
layer.add_mask(mask)
half = struct.pack("f", 0.5)
mask.get_buffer().set(Gegl.Rectangle.new(0, 0, 40, 40), "Y float", half * 1600)
mask.get_buffer().flush()
mask.update(0, 0, 40, 40)
image.select_ellipse(Gimp.ChannelOps.REPLACE, 0, 0, 40, 40)
_, (result,) = enlarge(image, [layer], **MODEL)
assert abs(coverage(result.get_mask(), 40, 40) - 0.5) < 0.01
assert coverage(result.get_mask(), 0, 0) == 0

# what a layer has besides pixels is carried, and the hidden stays hidden
for output in ("new-image", "scale-image", "same-size-layer", "new-layer"):
    image = image_of(30, 30)
    below = flat(image, 30, 30, BLUE)
    hidden = flat(image, 30, 30, RED, name="hidden")
    hidden.set_visible(False)
    hidden.set_lock_alpha(True)
    hidden.set_color_tag(Gimp.ColorTag.GREEN)
    hidden.attach_parasite(Gimp.Parasite.new("note", Gimp.PARASITE_PERSISTENT, b"mine"))
    result, layers = enlarge(image, [below, hidden], output=output, **MODEL)
    same(seen(result, 15, 15), BLUE)
    (top,) = [layer for layer in layers if layer.get_name().startswith("hidden")]
    assert (top.get_visible(), top.get_lock_alpha(), top.get_color_tag()) == (False, True, Gimp.ColorTag.GREEN)
    assert bytes(top.get_parasite("note").get_data()) == b"mine"
image = image_of(30, 30)
hidden = flat(image, 30, 30, RED)
hidden.set_visible(False)
result, (layer,) = enlarge(image, [hidden], **MODEL)
assert layer.get_visible()  # an empty-looking image helps nobody

# a result lies exactly where GIMP puts the original, at any size; abutting layers abut
rnd = random.Random(5)
for _round in range(6):
    image = image_of(rnd.randint(20, 60), rnd.randint(20, 60))
    layers = [
        add_layer(image, rnd.randint(2, 40), rnd.randint(2, 40), x=rnd.randint(-9, 30), y=rnd.randint(-9, 30))
        for _number in range(4)
    ]
    _, results = enlarge(image, layers, output="scale-image", scale="size", width=rnd.randint(61, 150))
    for original, result in zip(layers[::-1], results, strict=True):
        assert offsets(result) == offsets(original)
        assert (result.get_width(), result.get_height()) == (original.get_width(), original.get_height())
image = image_of(40, 20)
stripes = [flat(image, right - x, 20, WHITE, x=x) for x, right in ((0, 3), (3, 6), (6, 40))]
enlarge(image, stripes, output="scale-image", scale="size", width=60, **MODEL)
assert all(seen(image, x, 10)[3] > 0.99 for x in range(60))

# a group and its child: once, with the group's opacity
image = image_of(30, 30)
bottom = flat(image, 30, 30, BLUE)
outer = group(image, opacity=50)
child = flat(image, 30, 30, RED, parent=outer)
before = seen(image, 9, 9)
result, layers = enlarge(image, [outer, child, bottom], **MODEL)
assert len(layers) == 2
same(seen(result, 18, 18), before)

# groups that pass through are not drawn into one layer, which would not mix with what lies below
for output, factor in (("new-image", 2), ("scale-image", 2), ("same-size-layer", 1), ("replace-image", 2)):
    image = image_of(30, 30)
    bottom = flat(image, 30, 30, (0.8, 0.6, 0.4, 1.0))
    outer = group(image, mode=PASS_THROUGH, name="outer")
    inner = group(image, parent=outer, mode=PASS_THROUGH, name="inner")
    flat(image, 30, 30, (0.5, 0.5, 1.0, 1.0), parent=inner, mode=MULTIPLY, name="child")
    inner.set_lock_content(True)
    image.select_rectangle(Gimp.ChannelOps.REPLACE, 0, 0, 15, 30)
    outer.add_mask(outer.create_mask(Gimp.AddMaskType.SELECTION))
    Gimp.Selection.none(image)
    places = [(9, 9), (22, 9)]
    before = [seen(image, *place) for place in places]
    result, layers = enlarge(image, [outer, bottom], output=output, **MODEL)
    for (x, y), colour in zip(places, before, strict=True):
        same(seen(result, x * factor, y * factor), colour)
    outer, inner = named(result, "outer"), named(result, "inner")
    assert (outer.get_mode(), inner.get_mode(), inner.get_parent()) == (PASS_THROUGH, PASS_THROUGH, outer)

# a layer that is mixed into, in a locked group
image = image_of(30, 30)
outer = group(image)
child = flat(image, 30, 30, (0.5, 0.5, 1.0, 0.5), parent=outer)
outer.set_lock_content(True)
image.select_rectangle(Gimp.ChannelOps.REPLACE, 5, 5, 10, 10)
before = seen(image, 9, 9)
enlarge(image, [child], output="same-size-layer", **MODEL)
same(seen(image, 9, 9), before)
assert outer.get_lock_content()

# the image in place of GIMP's own scaling: the same layers, their structure, one result each
image = image_of(40, 30)
bottom = add_layer(image, 40, 30, name="bottom", seed=2)
bottom.set_lock_content(True)
outer = group(image, opacity=70, name="outer")
top = add_layer(image, 11, 9, alpha=True, x=-3, y=4, parent=outer, name="top", seed=3)
mask = top.create_mask(Gimp.AddMaskType.BLACK)
top.add_mask(mask)
image.select_rectangle(Gimp.ChannelOps.REPLACE, 0, 0, 5, 5)
expected, _ = enlarge(image_copy := image.duplicate(), [named(image_copy, "bottom")], output="replace-layer")
image.set_selected_layers([outer])
result, selected = enlarge(image, [top], output="replace-image")
assert result == image
assert [layer.get_name() for layer in descendants(image.get_layers())] == ["outer", "top", "bottom"]
assert image.get_layers() == [outer, bottom]
assert (image.get_width(), image.get_height(), offsets(top), top.get_width()) == (80, 60, (-6, 8), 22)
assert bottom.get_lock_content()
assert native(bottom) == native(named(expected, "bottom"))
assert native(top.get_mask()).count(0) == 22 * 18
assert selected == [outer]  # what was active is active still
assert not Gimp.Selection.is_empty(image)

# layers in place of GIMP's own scaling
image = image_of(40, 30)
layer = add_layer(image, 10, 8, x=4, y=6, seed=2)
_, (result,) = enlarge(image, [layer], output="new-layer", scale="x3")
pixels = native(result)
place = offsets(result)
image.remove_layer(result)
enlarge(image, [layer], output="replace-layer", scale="x3")
assert (image.get_width(), image.get_layers(), offsets(layer)) == (40, [layer], place)
assert native(layer) == pixels

# what is visible, as one picture
for output, factor in (("new-image", 2), ("scale-image", 2), ("same-size-layer", 1)):
    image = image_of(30, 20)
    flat(image, 30, 20, (0.8, 0.6, 0.4, 0.5))
    flat(image, 10, 20, (0.5, 0.5, 1.0, 1.0), mode=MULTIPLY)
    places = [(5, 10), (20, 10)]
    before = [seen(image, *place) for place in places]
    result, layers = enlarge(image, [], input="visible", output=output, **MODEL)
    assert len(layers) == 1
    for (x, y), colour in zip(places, before, strict=True):
        same(seen(result, x * factor, y * factor), colour)

# the smallest picture
image = image_of(1, 1)
result, _ = enlarge(image, [flat(image, 1, 1, WHITE)], **MODEL)
assert (result.get_width(), result.get_height()) == (2, 2)
same(seen(result, 1, 1), WHITE)

# names, resolution, all open images
image = image_of(30, 20)
image.set_resolution(100, 100)
image.set_file(Gio.File.new_for_path("/nowhere/face.xcf"))
layer = add_layer(image, 30, 20)
result, _ = enlarge(image, [layer], scale="x3", keep_print_size=True)
assert result.get_name() == "face_3x.xcf"
assert result.is_dirty()
assert result.get_resolution()[-1] == 300
for other in Gimp.get_images():
    other.delete()
images = [image_of(10, 10), image_of(12, 12), image_of(14, 14)]
for image in images[:2]:
    image.set_selected_layers([add_layer(image, 10, 10)])
status, _ = run(images[0], images[0].get_layers(), output="scale-image", all_images=True)
assert status == SUCCESS
assert [image.get_width() for image in images] == [20, 24, 14]  # the last has no layer, and is left out

# rich text with sizes of its own, which a larger font would leave as they are
image = image_of(300, 150)
bottom = flat(image, 300, 150, WHITE)
for text, kept in (('<span size="20480">Big</span> small', False), ("<b>Bold</b> plain", True)):
    layer = Gimp.TextLayer.new(image, "x", Gimp.context_get_font(), 12, Gimp.Unit.pixel())
    image.insert_layer(layer, None, 0)
    layer.set_markup(text)
    layer.set_name(f"text {kept}")
widths = {layer.get_name(): layer.get_width() for layer in image.get_layers()}
enlarge(image, [bottom], output="scale-image", **MODEL)
for layer in image.get_layers():
    if layer.get_name() in widths and isinstance(layer, Gimp.TextLayer):
        assert abs(layer.get_width() - 2 * widths[layer.get_name()]) <= 6, layer.get_name()
assert named(image, "text True").is_text_layer()

# beyond x8 the user is told of the networks, which the test looks for in what is printed
image = image_of(12, 10)
layer = add_layer(image, 12, 10)
result, _ = enlarge(image, [layer], scale="size", width=192, **MODEL)
assert (result.get_width(), result.get_height()) == (192, 160)

# how much is cleaned is chosen by TinySR, or by the user
shipped = str(Path(__file__).parents[3] / "weights" / "tinysr-portrait-x2.safetensors")
image = image_of(40, 30)
layer = add_layer(image, 40, 30)
cleaned = [
    native(enlarge(image, [layer], model=shipped, **settings)[1][0])
    for settings in ({}, {"auto_clean": False, "clean": 0.0}, {"auto_clean": False, "clean": 1.0})
]
assert cleaned[1] != cleaned[2]
assert cleaned[0] in cleaned[1:] or len(set(cleaned)) == 3
