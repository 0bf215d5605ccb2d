"""Pictures in colour spaces of their own, saturated colours included."""

from helper import GRAY, RGB, Gimp, add_layer, enlarge, image_of, save

KINDS = [
    (RGB, "U8_NON_LINEAR", Gimp.ColorProfile.new_rgb_adobe()),
    (RGB, "U16_NON_LINEAR", Gimp.ColorProfile.new_rgb_adobe()),
    (RGB, "FLOAT_NON_LINEAR", Gimp.ColorProfile.new_rgb_adobe()),
    (GRAY, "U8_NON_LINEAR", Gimp.ColorProfile.new_d50_gray_lab_trc()),
    (GRAY, "FLOAT_NON_LINEAR", Gimp.ColorProfile.new_d50_gray_lab_trc()),
]

for number, (base, precision, profile) in enumerate(KINDS):
    for output in ("new-image", "scale-image"):
        image = image_of(20, 14, base, getattr(Gimp.Precision, precision))
        assert image.set_color_profile(profile)
        layer = add_layer(image, 20, 14, alpha=True, seed=number)
        source = layer.copy()  # scaling the image changes the layer
        new, (result,) = enlarge(image, [layer], output=output)
        assert new.get_color_profile().is_equal(profile), (precision, output)
        save(source, result)
