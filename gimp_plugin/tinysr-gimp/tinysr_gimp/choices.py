"""What can be chosen from: (value of the argument, label, explanation)."""

from .translation import _

Choices = list[tuple[str, str, str]]


def inputs() -> Choices:
    """What is enlarged."""
    return [
        ("layers", _("Chosen layers"), _("Each chosen layer by itself, as far as the selection reaches.")),
        ("visible", _("What is visible"), _("All visible layers together, as one picture.")),
    ]


def scales() -> Choices:
    """How much larger a result is."""
    return [
        *((f"x{factor}", f"{factor}×", "") for factor in (2, 3, 4)),
        ("size", _("Given size"), _("The width and height below")),
    ]


def outputs() -> Choices:
    """Where a result goes."""
    return [
        ("new-image", _("New image"), _("A new image of the enlarged layers; this one stays as it is.")),
        (
            "scale-image",
            _("Scale this image"),
            _("The image is scaled as GIMP does, and the results lie over their layers, which are kept and hidden."),
        ),
        (
            "replace-image",
            _("Scale this image and replace its layers"),
            _("Like Image ▸ Scale Image: all layers are enlarged; groups, text and masks are kept."),
        ),
        (
            "replace-layer",
            _("Replace the layers"),
            _("Like Layer ▸ Scale Layer: the chosen layers become larger, the image keeps its size."),
        ),
        (
            "new-layer",
            _("New layer"),
            _("The result lies over its layer and is larger than it; the image keeps its size."),
        ),
        (
            "same-size-layer",
            _("New layer of the same size"),
            _("Enlarged, finished, and brought back to the old size: the result lies exactly over its layer."),
        ),
    ]
