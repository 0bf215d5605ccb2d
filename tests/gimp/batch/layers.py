"""Several layers, layers smaller than, larger than and outside their canvas, groups, locks, masks, selections."""

from helper import Gimp, add_layer, enlarge, fill, image_of, native, offsets, save

# several layers keep their places to one another, and their order
image = image_of(40, 30)
bottom = add_layer(image, 20, 10, x=5, y=6, name="bottom", seed=1)
top = add_layer(image, 12, 16, alpha=True, x=-4, y=20, name="top", seed=2)
new, results = enlarge(image, [bottom, top], scale="x3")
assert (new.get_width(), new.get_height()) == (87, 90)
assert [layer.get_name() for layer in new.get_layers()] == ["top", "bottom"]
assert [offsets(layer) for layer in results] == [(0, 42), (27, 0)]
for source, result in zip([top, bottom], results, strict=True):
    save(source, result, scale="x3")

# in the scaled image each lies over its own
copies = [top.copy(), bottom.copy()]
_, results = enlarge(image, [top, bottom], output="scale-image")
assert [layer.get_name() for layer in image.get_layers()] == ["top (TinySR)", "top", "bottom (TinySR)", "bottom"]
assert [offsets(layer) for layer in results] == [(-8, 40), (10, 12)]
for source, result in zip(copies, results, strict=True):
    save(source, result)

# a child of a group: the result joins it there; the group itself: the result joins its parent
image = image_of(32, 32)
outer = Gimp.GroupLayer.new(image, "outer")
image.insert_layer(outer, None, 0)
inner = Gimp.GroupLayer.new(image, "inner")
image.insert_layer(inner, outer, 0)
child = add_layer(image, 10, 12, alpha=True, x=3, y=4, parent=inner, name="child", seed=3)
add_layer(image, 8, 8, alpha=True, x=20, y=20, parent=inner, name="other", seed=4)
_, (result,) = enlarge(image, [child], output="same-size-layer")
assert result.get_parent() == inner
assert offsets(result) == (3, 4)
save(child, result)
image.remove_layer(result)
child.set_visible(True)
assert offsets(inner) == (3, 4)
new, (result,) = enlarge(image, [inner])
assert (new.get_width(), new.get_height()) == (50, 48)
assert not result.is_group()
save(inner, result)
_, (result,) = enlarge(image, [inner], output="same-size-layer")
assert result.get_parent() == outer
save(inner, result)

# locked layers and groups are read, never written to
image = image_of(16, 16)
locked = add_layer(image, 16, 16, alpha=True, seed=5)
locked.set_lock_content(True)
locked.set_lock_position(True)
locked.set_lock_visibility(True)
before = native(locked)
_, (result,) = enlarge(image, [locked], output="same-size-layer")
assert native(locked) == before
assert not locked.get_visible()  # it would show twice: it is not opaque
assert locked.get_lock_visibility()
assert (result.get_lock_alpha(), result.get_lock_content(), result.get_lock_position()) == (False, True, True)
save(locked, result)

# the mask is enlarged too; when it is being edited, GIMP hands over the mask instead of its layer
image = image_of(16, 12)
layer = add_layer(image, 16, 12, seed=6)
mask = layer.create_mask(Gimp.AddMaskType.WHITE)
layer.add_mask(mask)
fill(mask, 7)
layer.set_apply_mask(False)
for drawable in (layer, mask):
    _, (result,) = enlarge(image, [drawable])
    save(layer, result)
    assert (result.get_mask().get_width(), result.get_mask().get_height()) == (32, 24)
    assert not result.get_apply_mask()
    save(mask, result.get_mask())

# a selection: its bounds, as far as the layer reaches
image = image_of(40, 30)
layer = add_layer(image, 30, 20, x=5, y=5, seed=8)
image.select_ellipse(Gimp.ChannelOps.REPLACE, 20, 12, 30, 30)
new, (result,) = enlarge(image, [layer])
assert (new.get_width(), new.get_height()) == (30, 26)
save(layer, result, box=(15, 7, 15, 13))
_, (result,) = enlarge(image, [layer], output="same-size-layer")
assert offsets(result) == (20, 12)
assert layer.get_visible()
save(layer, result, box=(15, 7, 15, 13))
image.remove_layer(result)
source = layer.copy()
_, (result,) = enlarge(image, [layer], output="scale-image")
assert (image.get_width(), offsets(result), result.get_width()) == (80, (40, 24), 30)
save(source, result, box=(15, 7, 15, 13))
