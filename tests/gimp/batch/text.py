"""Text layers: as sources they are drawn; in a scaled image the others stay text."""

from gi.repository import Gio
from helper import FOLDER, Gimp, add_layer, enlarge, image_of, offsets, save

image = image_of(120, 80)
face = add_layer(image, 120, 80)
font = Gimp.context_get_font()
text = Gimp.TextLayer.new(image, "Hello", font, 20.0, Gimp.Unit.pixel())
image.insert_layer(text, None, 0)
text.set_offsets(11, 7)
text.set_letter_spacing(2.0)
box = Gimp.TextLayer.new(image, "Words that need several lines in their box", font, 9.0, Gimp.Unit.point())
image.insert_layer(box, None, 0)
box.resize(60, 40)
box.set_offsets(3, 35)
box.set_name("Box")
masked = Gimp.TextLayer.new(image, "Mask", font, 12.0, Gimp.Unit.pixel())
image.insert_layer(masked, None, 0)
masked.add_mask(masked.create_mask(Gimp.AddMaskType.WHITE))

_, (result,) = enlarge(image, [text])
assert not isinstance(result, Gimp.TextLayer)
assert text.is_text_layer()
save(text, result)

size = text.get_width(), text.get_height()
_, (result,) = enlarge(image, [face], output="scale-image", scale="x3")
layers = {layer.get_name(): layer for layer in image.get_layers()}
assert [layer.get_name() for layer in image.get_layers()][1:3] == ["Box", "Hello"]
text, box = layers["Hello"], layers["Box"]
assert text.is_text_layer()
assert text.get_text() == "Hello"
assert offsets(text) == (33, 21)
points, unit = text.get_font_size()
assert abs(points - 60) < 0.1, (points, unit.get_name())
assert abs(text.get_letter_spacing() - 6) < 0.01
for found, old in zip((text.get_width(), text.get_height()), size, strict=True):
    assert abs(found - 3 * old) <= 6, (found, old)
assert box.is_text_layer()
assert abs(box.get_font_size()[0] - 27) < 0.1
assert (box.get_width(), box.get_height()) == (180, 120)
assert offsets(box) == (9, 105)

# outlines keep their widths when a font grows, so GIMP's own scaling is kept; files bring outlines to GIMP 3.0, too
image = image_of(200, 80)
face = add_layer(image, 200, 80)
for name, outline in (("Outlined", b"(outline stroke-fill)(outline-width 6)"), ("Plain", b"(outline none)")):
    layer = Gimp.Layer.new(image, name, 150, 50, Gimp.ImageType.RGBA_IMAGE, 100, Gimp.LayerMode.NORMAL)
    image.insert_layer(layer, None, 0)
    description = b'(text "Words")(font-size 30)(font-size-unit pixels)(antialias yes)' + outline + b"\n\0"
    layer.attach_parasite(Gimp.Parasite.new("gimp-text-layer", Gimp.PARASITE_PERSISTENT, description))
file = Gio.File.new_for_path(str(FOLDER / "outlines.xcf"))
Gimp.file_save(Gimp.RunMode.NONINTERACTIVE, image, file, None)
image = Gimp.file_load(Gimp.RunMode.NONINTERACTIVE, file)
plain, outlined, face = image.get_layers()
assert outlined.is_text_layer()
size = outlined.get_width(), outlined.get_height()
enlarge(image, [face], output="scale-image", scale="x3")
layers = {layer.get_name(): layer for layer in image.get_layers()}
assert (layers["Outlined"].get_width(), layers["Outlined"].get_height()) == (3 * size[0], 3 * size[1])
assert layers["Plain"].is_text_layer()
assert abs(layers["Plain"].get_font_size()[0] - 90) < 0.1
