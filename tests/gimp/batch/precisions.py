"""Every precision, in colour and grey, with and without alpha, into a new image."""

from helper import GRAY, RGB, Gimp, add_layer, enlarge, image_of, save

KINDS = [
    (RGB, f"{number}_{curve}")
    for number in ("U8", "U16", "U32", "HALF", "FLOAT", "DOUBLE")
    for curve in ("NON_LINEAR", "LINEAR")
] + [(RGB, "U8_PERCEPTUAL"), (RGB, "FLOAT_PERCEPTUAL")]
KINDS += [(GRAY, name) for name in ("U8_NON_LINEAR", "U16_LINEAR", "HALF_NON_LINEAR", "FLOAT_NON_LINEAR")]

for number, (base, name) in enumerate(KINDS):
    precision = getattr(Gimp.Precision, name)
    image = image_of(24, 17, base, precision)
    layer = add_layer(image, 24, 17, alpha=number % 2 == 0, seed=number)
    new, (result,) = enlarge(image, [layer])
    assert new.get_precision() == precision, name
    assert new.get_base_type() == base, name
    save(layer, result)
