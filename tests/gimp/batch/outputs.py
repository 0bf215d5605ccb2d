"""The outputs, sizes and options; what a new image takes over; what an image keeps."""

from helper import Gimp, add_layer, enlarge, image_of, native, offsets, save

image = image_of(30, 20)
image.set_resolution(300, 150)
layer = add_layer(image, 30, 20, alpha=True, name="face")
layer.set_opacity(60)
layer.set_mode(Gimp.LayerMode.MULTIPLY)
layer.set_color_tag(Gimp.ColorTag.RED)
before = native(layer)

for scale, size in (("x2", (60, 40)), ("x3", (90, 60)), ("x4", (120, 80))):
    new, (result,) = enlarge(image, [layer], scale=scale)
    assert (new.get_width(), new.get_height()) == (result.get_width(), result.get_height()) == size
    save(layer, result, scale=scale)
assert new.get_resolution()[1:] == (300, 150) if len(new.get_resolution()) == 3 else new.get_resolution() == (300, 150)
assert (result.get_name(), result.get_opacity(), result.get_mode()) == ("face", 60, Gimp.LayerMode.MULTIPLY)
assert result.get_color_tag() == Gimp.ColorTag.RED
assert not new.is_dirty() or new.undo_is_enabled()

# one side given: proportions are kept; both: they are not
new, (result,) = enlarge(image, [layer], scale="size", width=100)
assert (new.get_width(), new.get_height()) == (100, 67)
save(layer, result, scale="x4")
new, (result,) = enlarge(image, [layer], scale="size", width=50, height=21)
assert (new.get_width(), new.get_height()) == (50, 21)
save(layer, result, scale="x2")
new, (result,) = enlarge(image, [layer], scale="size", height=10)
assert (new.get_width(), new.get_height()) == (15, 10)
save(layer, result, scale="x2")

new, (result,) = enlarge(image, [layer], sharpen=True)
save(layer, result, sharpen=True)
new, (result,) = enlarge(image, [layer], anti_alias=True)
save(layer, result, anti_alias=True)
new, (result,) = enlarge(image, [layer], sharpen=True, anti_alias=True)
save(layer, result, sharpen=True, anti_alias=True)

new, (result,) = enlarge(image, [layer], detail=0.25)
save(layer, result, detail=0.25)

# nothing of all this has touched the image
assert native(layer) == before
assert image.get_layers() == [layer]
assert layer.get_visible()

# a layer over the old one, which is kept: enlarged about its centre, or enlarged and brought back
for output, size, place in (("new-layer", (90, 60), (-30, -20)), ("same-size-layer", (30, 20), (0, 0))):
    new, (result,) = enlarge(image, [layer], output=output, scale="x3")
    assert new == image
    assert (image.get_width(), image.get_height()) == (30, 20)
    assert image.get_layers() == [result, layer]
    assert (result.get_width(), result.get_height()) == size
    assert offsets(result) == place
    assert (result.get_name(), result.get_opacity()) == ("face (TinySR)", 60)
    assert not layer.get_visible()
    assert native(layer) == before
    save(layer, result, scale="x3")
    image.remove_layer(result)
    layer.set_visible(True)

source = layer.copy()
new, (result,) = enlarge(image, [layer], output="scale-image")
assert new == image
assert (image.get_width(), image.get_height()) == (60, 40)
assert image.get_layers() == [result, layer]
assert (layer.get_width(), layer.get_height()) == (60, 40)
assert not layer.get_visible()
assert offsets(result) == (0, 0)
save(source, result)
