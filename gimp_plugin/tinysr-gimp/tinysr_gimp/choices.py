"""The choices of the procedure: (value of the argument, label, explanation)."""

from .translation import _

Choices = list[tuple[str, str, str]]


def inputs() -> Choices:
    """What to enlarge."""
    return [
        ("layers", _("Selected layers"), _("Each selected layer by itself, limited to the selection.")),
        ("visible", _("Visible layers"), _("All visible layers, merged into one picture.")),
    ]


def scales() -> Choices:
    """How much to enlarge."""
    return [
        *((f"x{factor}", f"{factor}×", "") for factor in (2, 3, 4, 8)),
        ("size", _("Custom size"), _("The width and height below")),
    ]


def outputs() -> Choices:
    """Where to put the result."""
    return [
        ("new-image", _("New image"), _("A new image with the enlarged layers. This image stays unchanged.")),
        (
            "scale-image",
            _("Scale this image"),
            _("Scales the image and puts each result above its layer. The old layers are kept and hidden."),
        ),
        (
            "replace-image",
            _("Scale this image and replace its layers"),
            _("Like Image ▸ Scale Image, with the network. Groups, text and masks are kept."),
        ),
        (
            "replace-layer",
            _("Replace the layers"),
            _("Like Layer ▸ Scale Layer, with the network. The image keeps its size."),
        ),
        (
            "new-layer",
            _("New layer"),
            _("Puts each result, centred, above its layer. The image keeps its size."),
        ),
        (
            "same-size-layer",
            _("New layer of the same size"),
            _("Enlarges, then reduces to the old size. Each result exactly covers its layer."),
        ),
    ]


def steps() -> Choices:
    """The steps that can follow the network, each off by default."""
    return [
        ("sharpen", _("Shar_pen"), _("Unsharp mask on the result: radius 1.2, 100 %")),
        ("anti-alias", _("_Anti-alias"), _("Smooth jagged edges in the result")),
    ]
