"""One run, from the selected layers to their results: first everything is computed, then the image is touched."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

from gi.repository import Gimp

from . import pixels, placement
from .geometry import MAX_SIDE, Box, Plan, plan
from .placement import Enlarged
from .sources import RefusalError, Source, Sources
from .translation import _
from .worker_client import Result, Worker


def enlarge(
    worker: Worker, image: Gimp.Image, drawables: Sequence[Gimp.Drawable], config: Gimp.ProcedureConfig
) -> Gimp.Image:
    """Do what `config` says with the `drawables` of `image`. Returns the image with the results, which are selected.

    Raises:
        RefusalError: this cannot be done with this image.
        WorkerError: the network failed. In both cases the image is as it was.
    """
    output = config.get_property("output")
    if output != "new-image":
        _check_can_hold_results(image)
    Gimp.progress_init(_("TinySR: reading the layers"))
    with Sources(image, drawables) as sources:
        layout = _layout(image, sources, config)
        results = _computed(worker, sources.items, layout, config)
        Gimp.progress_set_text(_("TinySR: placing the result"))
        if output == "new-image":
            image = placement.into_new_image(image, results, layout.frame)
        elif output == "scale-image":
            placement.into_scaled_image(image, results, layout, hide_originals=not sources.selected)
        else:
            placement.into_new_layers(image, results, hide_originals=not sources.selected)
    Gimp.progress_end()
    return image


def _check_can_hold_results(image: Gimp.Image) -> None:
    """Indexed images cannot show new colours; a floating selection keeps new layers out and would not be scaled."""
    if image.get_base_type() == Gimp.ImageBaseType.INDEXED:
        raise RefusalError(
            _("An indexed image cannot hold new colours. Choose New image as output, or first Image ▸ Mode ▸ RGB.")
        )
    if image.get_floating_sel():
        raise RefusalError(
            _("The image has a floating selection. Anchor it (Layer ▸ Anchor Layer), or choose New image as output.")
        )


def _layout(image: Gimp.Image, sources: Sources, config: Gimp.ProcedureConfig) -> Plan:
    output, scale, width, height = (config.get_property(name) for name in ("output", "scale", "width", "height"))
    if scale == "size" and not (width or height):
        raise RefusalError(_("“Given size” needs a width or a height."))
    canvas = Box(0, 0, image.get_width(), image.get_height())
    layout = plan(output, canvas, [source.region for source in sources.items], scale, width, height)
    if layout.longest_side > MAX_SIDE:
        text = _("The result would be {longest} pixels long; GIMP's limit is {limit}. Choose a smaller size.")
        raise RefusalError(text.format(longest=layout.longest_side, limit=MAX_SIDE))
    return layout


def _computed(worker: Worker, sources: list[Source], layout: Plan, config: Gimp.ProcedureConfig) -> list[Enlarged]:
    """Have every source enlarged, its mask too. The progress bar counts pixels."""
    upscale = {
        "type": "upscale",
        "model": config.get_property("model"),
        "factor": layout.factors.largest,
        "sharpen": config.get_property("sharpen"),
        "anti_alias": config.get_property("anti-alias"),
    }
    if (detail := config.get_property("detail")) < 1:
        upscale["detail"] = detail
    total = sum(source.region.area for source in sources)
    finished = 0
    clipped = False
    results: list[Enlarged] = []
    for number, (source, box) in enumerate(zip(sources, layout.boxes, strict=True), start=1):
        text = _("TinySR: enlarging “{layer}” ({number} of {count})")
        Gimp.progress_set_text(text.format(layer=source.layer.get_name(), number=number, count=len(sources)))
        before, area = finished / total, source.region.area / total
        progress = functools.partial(_show_progress, before, area)
        result = _compute(worker, upscale, source.content, source.box, box, progress)
        mask = source.content.get_mask()
        mask_result = _compute(worker, {"type": "resize"}, mask, source.box, box, _ignore) if mask else None
        results.append(Enlarged(source, box, result.pixels, mask_result.pixels if mask_result else None))
        finished += source.region.area
        clipped |= result.clipped
    if clipped:
        Gimp.message(_("Colours outside the displayable range were cut off in the result."))
    return results


def _compute(
    worker: Worker, request: dict, drawable: Gimp.Drawable, part: Box, result: Box, progress: Callable[[float], None]
) -> Result:
    encoding = pixels.encoding(drawable)
    sizes = {
        "width": part.width,
        "height": part.height,
        "channels": pixels.CHANNELS[encoding],
        "result_width": result.width,
        "result_height": result.height,
    }
    return worker.compute(request | sizes, pixels.read(drawable, part, encoding), progress)


def _show_progress(before: float, area: float, share: float) -> None:
    Gimp.progress_update(before + area * share)


def _ignore(share: float) -> None:
    """Masks take no time worth showing."""
