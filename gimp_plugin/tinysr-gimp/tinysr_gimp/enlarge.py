"""One run, from the selected layers to their results. Everything is computed before the image is changed."""

from __future__ import annotations

import functools
import math
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

from gi.repository import Gegl, Gimp

from . import pixels, placement
from .geometry import MAX_SIDE, Box, Plan, plan
from .options import IN_IMAGE, Options
from .placement import Enlarged
from .snapshot import Snapshot, image_changed
from .sources import RefusalError, Source, Sources, extent
from .translation import _
from .worker_client import Model, Result, Worker


def enlarge_all(
    worker: Worker,
    image: Gimp.Image,
    drawables: Sequence[Gimp.Drawable],
    config: Gimp.ProcedureConfig,
    interactive: bool = False,
) -> Gimp.Image:
    """Enlarge `drawables` of `image` as `config` says, and with `all-images` the other open images, too.

    `interactive`: show new images in windows, and do not repeat notes that the dialog has shown.
    Returns the image with the results of `image`.

    Raises:
        RefusalError: it cannot be done with `image`. If it cannot be done with another image, a message says so.
        WorkerError: the network failed.
    """
    options = Options.of(config)
    others = [other for other in Gimp.get_images() if other != image] if config.get_property("all-images") else []

    def one(image: Gimp.Image, drawables: Sequence[Gimp.Drawable]) -> Gimp.Image:
        result = enlarge(worker, image, drawables, options, interactive)
        if interactive and options.output == "new-image":
            Gimp.Display.new(result)
        return result

    result = one(image, drawables)
    for other in others:
        try:
            one(other, other.get_selected_layers())
        except RefusalError as refusal:
            Gimp.message(f"{other.get_name()}: {refusal}")
    return result


def enlarge(
    worker: Worker,
    image: Gimp.Image,
    drawables: Sequence[Gimp.Drawable],
    options: Options,
    interactive: bool = False,
) -> Gimp.Image:
    """Enlarge `drawables` of `image` as `options` say. Returns the image with the results, which are selected.

    Raises:
        RefusalError: it cannot be done with this image, or the image has changed during the run.
        WorkerError: the network failed. After any error the image is unchanged.
    """
    check(image, options)
    Gimp.progress_init(_("TinySR: reading the layers"))
    with (
        Sources(image, drawables, options.input, options.output) as sources,
        ExitStack() as on_failure,
        _deletions_noticed(),
    ):
        layout = lay_out(image, sources, options)
        if options.output == "new-image":
            target = placement.new_image(image, layout, options.keep_print_size)
            on_failure.callback(target.delete)
            before = None
        else:
            target = image
            before = Snapshot(image, sources.originals)
        run = _Run(worker, target, layout, options, on_failure)
        results = run.results(sources.items)
        if run.clipped:
            Gimp.message(_("Colours outside the range 0 to 1 were clipped in the result."))
        if run.networks and not interactive:
            Gimp.message(beyond_scale(run.networks, layout.factors.largest))
        selection = run.selection(image, sources.selection) if sources.selection else None
        group_masks = run.group_masks(sources.items) if options.output == "new-image" else {}
        Gimp.progress_set_text(_("TinySR: placing the result"))
        if before:
            before.check()
        on_failure.pop_all()
        if options.output == "new-image":
            placement.into_new_image(target, results, group_masks)
        else:
            _place(target, results, selection, layout, options)
    Gimp.progress_end()
    return target


@contextmanager
def _deletions_noticed() -> Iterator[None]:
    """Layers that the user has deleted during the run cannot be read."""
    try:
        yield
    except pixels.DeletedError as error:
        raise image_changed() from error


def check(image: Gimp.Image, options: Options) -> None:
    """Check whether `image` can hold what `options` ask for.

    Raises:
        RefusalError: a size is missing; an indexed image cannot hold new colours; a floating selection lets no layer in
            and is not scaled; the visible layers as one picture cannot replace a layer.
    """
    if options.scale == "size" and not (options.width or options.height):
        raise RefusalError(_("“Custom size” needs a width or a height."))
    if options.output not in IN_IMAGE:
        return
    if image.get_base_type() == Gimp.ImageBaseType.INDEXED:
        raise RefusalError(
            _("An indexed image cannot hold new colours. Choose the output “New image”, or use Image ▸ Mode ▸ RGB.")
        )
    if image.get_floating_sel():
        raise RefusalError(
            _("The image has a floating selection. Use Layer ▸ Anchor Layer, or choose the output “New image”.")
        )
    if options.input == "visible" and options.output.startswith("replace-"):
        raise RefusalError(_("The visible layers as one picture cannot replace a layer. Choose another output."))


def check_model(models: Iterable[Model], options: Options) -> None:
    """Check whether the chosen one of `models` has a network of the wanted scale. The worker checks paths.

    Raises:
        RefusalError: it has no such network.
    """
    for model in models:
        if model.name == options.model and options.scale != "size" and int(options.scale[1:]) not in model.scales:
            scales = ", ".join(f"{scale}×" for scale in model.scales)
            text = _("This model enlarges {scales} only. Choose one of these scales.")
            raise RefusalError(text.format(scales=scales))


def lay_out(image: Gimp.Image, sources: Sources, options: Options) -> Plan:
    """Where the results will be.

    Raises:
        RefusalError: a result would be larger than GIMP allows.
    """
    canvas = Box(0, 0, image.get_width(), image.get_height())
    parts = [source.part for source in sources.items]
    layout = plan(options.output, canvas, parts, options.scale, options.width, options.height)
    if layout.longest_side > MAX_SIDE:
        text = _("The result would be {longest} pixels long; GIMP's limit is {limit}. Choose a smaller size.")
        raise RefusalError(text.format(longest=layout.longest_side, limit=MAX_SIDE))
    return layout


def _place(
    image: Gimp.Image, results: list[Enlarged], selection: Gimp.Channel | None, layout: Plan, options: Options
) -> None:
    if options.output == "scale-image":
        placement.into_scaled_image(image, results, layout, selection, options.keep_print_size)
    elif options.output == "replace-image":
        placement.into_replaced_image(image, results, layout, options.keep_print_size)
    elif options.output == "replace-layer":
        placement.into_replaced_layers(image, results)
    else:
        placement.into_new_layers(image, results)


class _Run:
    """Enlarges the sources one after the other, each into its own layer."""

    def __init__(
        self, worker: Worker, target: Gimp.Image, layout: Plan, options: Options, on_failure: ExitStack
    ) -> None:
        """The layers are made for `target`; `on_failure` deletes them."""
        self._worker = worker
        self._target = target
        self._layout = layout
        self._options = options
        self._on_failure = on_failure
        self._network = options.network | {"factor": layout.factors.largest}
        self.clipped = False
        """Whether colours outside 0 to 1 were clipped."""
        self.networks: tuple[int, ...] = ()
        """The scales of the networks that ran one after the other; empty if the first one reached the size."""

    def results(self, sources: Sequence[Source]) -> list[Enlarged]:
        """Enlarge the sources and their masks. The progress bar counts pixels."""
        total = sum(source.region.area for source in sources)
        finished = 0
        results: list[Enlarged] = []
        for number, (source, box) in enumerate(zip(sources, self._layout.boxes, strict=True), start=1):
            text = _("TinySR: enlarging “{layer}” ({number} of {count})")
            Gimp.progress_set_text(text.format(layer=source.look.name, number=number, count=len(sources)))
            layer = placement.blank_layer(self._target, source, box)
            self._on_failure.callback(layer.delete)
            progress = functools.partial(_show_progress, finished / total, source.region.area / total)
            picture = pixels.read(source.content, source.box)
            channels = pixels.CHANNELS[pixels.encoding(source.content)]
            result = self._compute({"type": "upscale", "channels": channels}, source.box, box, picture, progress)
            pixels.write(layer, result.strips)
            results.append(Enlarged(source, box, layer, self._mask(source, layer, box)))
            finished += source.region.area
            self.clipped |= result.clipped
            self.networks = result.networks
        return results

    def selection(self, image: Gimp.Image, bounds: Box) -> Gimp.Channel | None:
        """The selection of `image` in the scaled image, as a channel that is not yet part of it."""
        if self._options.output != "scale-image":
            return None
        channel = self._channel(self._layout.frame)
        pixels.clear(channel)
        box = self._layout.enlarged(bounds)
        result = self._compute_mask([(image.get_selection(), bounds)], box)
        pixels.write(channel, result.strips, box)
        return channel

    def group_masks(self, sources: Sequence[Source]) -> dict[Gimp.GroupLayer, tuple[Gimp.Channel, Box]]:
        """The enlarged masks of the groups that are not drawn into one layer, and where they are in the new image."""
        masks: dict[Gimp.GroupLayer, tuple[Gimp.Channel, Box]] = {}
        for group in {group: None for source in sources for group in source.groups}:
            if mask := group.get_mask():
                box = self._layout.enlarged(extent(group))
                channel = self._channel(box)
                pixels.write(channel, self._compute_mask([(mask, pixels.whole(mask))], box).strips)
                masks[group] = channel, box
        return masks

    def _channel(self, size: Box) -> Gimp.Channel:
        """A channel that is not yet part of the target: it holds a mask until the mask has a layer."""
        channel = Gimp.Channel.new(self._target, "", size.width, size.height, 100, Gegl.Color.new("black"))
        self._on_failure.callback(channel.delete)
        return channel

    def _mask(self, source: Source, layer: Gimp.Layer, box: Box) -> Gimp.LayerMask | None:
        """The enlarged mask of `source` and the shape of the selection, as a mask that is not yet added to `layer`."""
        masks: list[tuple[Gimp.Channel, Box]] = []
        if source.mask and not source.mixed and (source.look.applies_mask or not source.shaped):
            masks.append((source.mask, source.box))
        if source.shaped and not source.mixed:
            masks.append((source.content.get_image().get_selection(), source.region))
        if not masks:
            return None
        mask = layer.create_mask(Gimp.AddMaskType.WHITE)
        pixels.write(mask, self._compute_mask(masks, box).strips)
        return mask

    def _compute_mask(self, masks: Sequence[tuple[Gimp.Channel, Box]], box: Box) -> Result:
        part = masks[0][1]
        product = _interleaved([pixels.read(mask, part) for mask, part in masks])
        return self._compute({"type": "mask", "channels": len(masks)}, part, box, product, _ignore)

    def _compute(
        self, request: dict, part: Box, box: Box, picture: Iterable[bytes], progress: Callable[[float], None]
    ) -> Result:
        sizes = {
            "width": part.width,
            "height": part.height,
            "result_width": box.width,
            "result_height": box.height,
        }
        return self._worker.compute(request | sizes | self._network, picture, progress)


def beyond_scale(networks: Sequence[int], factor: float) -> str:
    """Tells the user that networks of the scales `networks` reach `factor` one after the other."""
    parts = [f"{scale}×" for scale in networks]
    if not math.isclose(factor, math.prod(networks), rel_tol=0.001):
        parts.append(_("interpolation"))
    text = _("No network enlarges {factor}× at once. It is done in steps: {steps}.")
    return text.format(factor=f"{factor:.3g}", steps=", ".join(parts))


def _interleaved(planes: Sequence[Iterator[bytes]]) -> Iterator[bytes]:
    """Planes of floats as the channels of one picture. The strips of all planes have the same sizes."""
    for strips in zip(*planes, strict=True):
        if len(strips) == 1:
            yield strips[0]
            continue
        picture = array("f", bytes(len(strips[0]) * len(strips)))
        for channel, strip in enumerate(strips):
            picture[channel :: len(strips)] = array("f", strip)
        yield picture.tobytes()


def _show_progress(before: float, area: float, share: float) -> None:
    Gimp.progress_update(before + area * share)


def _ignore(share: float) -> None:
    """Masks take no time worth showing."""
