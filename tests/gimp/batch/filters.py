"""Non-destructive filters are part of what a layer shows, and so of the result."""

from helper import Gimp, add_layer, enlarge, image_of, native, offsets, save


def add_filter(drawable, operation, **properties):
    added = Gimp.DrawableFilter.new(drawable, operation, operation)
    config = added.get_config()
    for name, value in properties.items():
        config.set_property(name, value)
    drawable.append_filter(added)
    added.update()
    return added


def visible(image):
    """What the user sees, as a layer of the size of the image."""
    copy = image.duplicate()
    layer = Gimp.Layer.new_from_visible(copy, copy, "visible")
    copy.insert_layer(layer, None, 0)
    return layer


image = image_of(24, 18)
layer = add_layer(image, 24, 18, alpha=True)
before = native(layer)
add_filter(layer, "gegl:exposure", exposure=-1.0)
hidden = add_filter(layer, "gegl:invert-gamma")
hidden.set_visible(False)
hidden.update()
seen = visible(image)
assert native(seen) != before
_, (result,) = enlarge(image, [layer])
save(seen, result)
_, (result,) = enlarge(image, [layer], output="same-size-layer")
save(seen, result)
assert native(layer) == before
assert len(layer.get_filters()) == 2

# a filter may make a layer larger
image = image_of(120, 100)
layer = add_layer(image, 24, 18, x=30, y=25)
add_filter(layer, "gegl:dropshadow", x=6.0, y=4.0, radius=2.0)
seen = visible(image)
_, (result,) = enlarge(image, [layer], output="same-size-layer")
assert result.get_width() > 24 and result.get_height() > 18
x, y = offsets(result)
save(seen, result, box=(x, y, result.get_width(), result.get_height()))

# filters of a group and of its child
image = image_of(24, 18)
add_layer(image, 24, 18, name="below")
outer = Gimp.GroupLayer.new(image, "outer")
image.insert_layer(outer, None, 0)
group = Gimp.GroupLayer.new(image, "group")
image.insert_layer(group, outer, 0)
child = add_layer(image, 24, 18, parent=group, alpha=True, seed=3)
add_filter(child, "gegl:exposure", exposure=-1.0)
add_filter(group, "gegl:invert-gamma")
image.get_layers()[-1].set_visible(False)
seen = visible(image)
_, (result,) = enlarge(image, [group], output="same-size-layer")
assert result.get_parent() == outer
save(seen, result)
assert len(group.get_filters()) == 1
