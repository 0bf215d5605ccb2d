"""What cannot be done is refused with a reason, and leaves the image as it was."""

from gi.repository import Gegl
from helper import CALLING_ERROR, EXECUTION_ERROR, SUCCESS, Gimp, add_layer, image_of, native, run, save


def refused(words, image, drawables, status=CALLING_ERROR, **arguments):
    layers, size, pixels = image.get_layers(), (image.get_width(), image.get_height()), native(image.get_layers()[0])
    image.clean_all()
    found, message = run(image, drawables, **arguments)
    assert found == status, (found, message)
    assert words in message, message
    assert not image.is_dirty(), arguments
    assert (image.get_layers(), (image.get_width(), image.get_height())) == (layers, size)
    assert native(layers[0]) == pixels


image = image_of(24, 18)
layer = add_layer(image, 24, 18, alpha=True)
refused("No layer is selected", image, [])
channel = Gimp.Channel.new(image, "channel", 24, 18, 50, Gegl.Color.new("red"))
image.insert_channel(channel, None, 0)
refused("A channel is selected", image, [channel])
image.remove_channel(channel)
refused("cannot replace a layer", image, [layer], input="visible", output="replace-layer")
refused("needs a width or a height", image, [layer], scale="size")
refused("limit is 524288", image, [layer], scale="size", height=524288)
refused("There is no model 'nobody'", image, [layer], EXECUTION_ERROR, model="nobody")
refused("slow-x2 has no faithful twin", image, [layer], EXECUTION_ERROR, model="slow", detail=0.5)
refused("enlarges 2× only", image, [layer], model="portrait-64", scale="x4")
refused("There is no file", image, [layer], EXECUTION_ERROR, model="/no/such/file.safetensors")
image.select_rectangle(Gimp.ChannelOps.REPLACE, 20, 0, 4, 18)
small = add_layer(image, 5, 5, name="small")
refused("selection is outside", image, [small])
Gimp.Selection.none(image)

# a floating selection keeps other layers out; alone it can become an image
image.select_rectangle(Gimp.ChannelOps.REPLACE, 2, 3, 10, 8)
Gimp.edit_copy([layer])
(floating,) = Gimp.edit_paste(layer, True)
assert floating.is_floating_sel()
refused("floating selection", image, [layer], output="same-size-layer")
refused("floating selection", image, [floating], output="scale-image")
status, new = run(image, [floating])
assert status == SUCCESS, new

# an indexed image cannot hold the result, but a new image of all colours can
image = image_of(24, 18)
layer = add_layer(image, 24, 18)
image.convert_indexed(Gimp.ConvertDitherType.NONE, Gimp.ConvertPaletteType.GENERATE, 16, False, False, "")
refused("indexed image", image, [layer], output="new-layer")
refused("indexed image", image, [layer], output="scale-image")
status, new = run(image, [layer])
assert status == SUCCESS, new
assert new.get_base_type() == Gimp.ImageBaseType.RGB
image.convert_rgb()
save(layer, new.get_layers()[0])

# out-of-range arguments become the default before the plug-in hears of them
status, new = run(image, [layer], scale="x9")
assert status == SUCCESS
assert new.get_width() == 48
