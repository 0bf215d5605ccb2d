"""*TinySR Upscale Video*: a video of any length from file to file, with constant memory."""

from typing import Any

import torch

from ..tinysr_core.video import CODECS, Encoding, VideoProgress, transcode
from . import host
from .engine import run_widgets, weights_key
from .enlarge import MODEL_INPUT, Enlarge, UpscaleNode
from .size import MATCH, MODES, SizeRequest, size_widgets
from .values import checked


class TinySRUpscaleVideo(UpscaleNode):
    """Frames are decoded, enlarged and encoded in small groups. A run that was interrupted is resumed."""

    DESCRIPTION = (
        "Enlarges a video of any length with TinySR or any other upscale model. Frames go from file to file, so memory "
        "use stays constant. Audio, timestamps and colours are kept. Queue a cancelled run again to resume it."
    )
    SEARCH_ALIASES = ("video upscale", "upscale video", "super resolution", "superres", "enlarge video")
    RETURN_TYPES = ("VIDEO", "STRING")
    RETURN_NAMES = ("video", "path")
    OUTPUT_TOOLTIPS = ("The enlarged video. It is saved already.", "The path of the saved file.")
    OUTPUT_NODE = True

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "upscale_model": MODEL_INPUT,
                "video": ("VIDEO", {"tooltip": "From Load Video."}),
                **size_widgets([mode for mode in MODES if mode != MATCH]),
                "codec": (
                    list(CODECS),
                    {
                        "tooltip": "h264: an .mp4 that plays everywhere. h265: smaller files. prores: a .mov for "
                        "editing. ffv1: a lossless .mkv."
                    },
                ),
                "filename_prefix": (
                    "STRING",
                    {"default": "TinySR/video", "tooltip": "Folder and file name, inside ComfyUI's output folder."},
                ),
            },
            "optional": {
                "quality": (
                    "INT",
                    {"default": 18, "min": 0, "max": 51}
                    | {"tooltip": "Constant rate factor of h264 and h265. Lower is better and larger; 0 is lossless."},
                ),
                "divisible_by": (
                    "INT",
                    {"default": 2, "min": 1, "max": 512}
                    | {"tooltip": "Both sides become multiples of this, cropped evenly. Most codecs need 2."},
                ),
                **run_widgets(),
            },
            "hidden": {"unique_id": "UNIQUE_ID", "prompt": "PROMPT", "extra_pnginfo": "EXTRA_PNGINFO"},
        }

    @checked
    def upscale(
        self,
        upscale_model: Any,
        video: Any,
        size: str,
        factor: float,
        width: int,
        height: int,
        megapixels: float,
        codec: str,
        filename_prefix: str,
        quality: int = 18,
        divisible_by: int = 2,
        tile: int = 0,
        device: str = "auto",
        precision: str = "auto",
        unique_id: str | None = None,
        prompt: Any = None,
        extra_pnginfo: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """VIDEO -> VIDEO and its path, and what the front end shows.

        Raises:
            RequestError: the node does not accept a value.
            PictureError: the video cannot be read or written.
            MemoryLimitError: there is too little memory for a frame.
        """
        source, start, duration = host.video_source(video)
        upscaler, target = self.upscaler(upscale_model, device, precision, tile)
        upscaler, clean = upscaler.for_video
        request = SizeRequest(size, factor, width, height, megapixels, divisible_by)
        enlarge = Enlarge(upscaler, target)
        notes = [] if clean is None else [str(clean)]

        def at_once(tall: int, wide: int) -> int:
            """Called once, when the size of the frames is known."""
            host.require_whole(video, tall, wide)
            sizing = request.sizing(tall, wide, upscaler.scale)
            needed = enlarge.working_memory(tall, wide, 3, sizing)
            host.require_memory(needed, f"A frame of {sizing.kept[1]} x {sizing.kept[0]} pixels")
            beyond = enlarge.note(tall, wide, sizing)
            notes.extend([] if beyond is None else [beyond])
            host.tell(notes, unique_id)
            return enlarge.at_once(tall, wide, sizing)

        def enlarged(pixels: Any) -> Any:
            sizing = request.sizing(pixels.shape[2], pixels.shape[3], upscaler.scale)
            result, _ = enlarge(torch.from_numpy(pixels), None, sizing, lambda done, total: host.check_cancelled())
            return result.cpu().numpy()

        bar = host.progress_bar(1)

        def show(progress: VideoProgress) -> None:
            bar(0, progress.done, max(progress.total, progress.done, 1))
            host.show_lines([_told(progress), *notes], unique_id)

        path, shown = host.new_output(filename_prefix, CODECS[codec].suffixes[0])
        transcode(
            source,
            path,
            enlarged,
            Encoding(codec, quality),
            request=repr((weights_key(upscale_model), request, precision)),
            start=start,
            duration=duration,
            metadata=host.workflow_metadata(prompt, extra_pnginfo),
            at_once=at_once,
            progress=show,
        )
        return {"ui": {"images": [shown], "animated": (True,)}, "result": (host.video_from_file(path), str(path))}


def _told(progress: VideoProgress) -> str:
    """The progress as a line of text."""
    frames_done = f"{progress.done} of {progress.total} frames" if progress.total else f"{progress.done} frames"
    left = progress.seconds_left
    if left is None:
        return frames_done
    minutes, seconds = divmod(round(left), 60)
    return f"{frames_done}, {progress.frames_per_second:.2f} frames/s, {minutes}:{seconds:02} left"
