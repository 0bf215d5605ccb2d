"""*TinySR Upscale Video*: a video of any length from file to file, with constant memory."""

from typing import Any

import torch

from ..tinysr_core.video import CODECS, Encoding, VideoProgress, transcode
from . import host
from .engine import CpuEngine, run_widgets, upscaler_for, weights_key
from .enlarge import Enlarge, working_memory
from .size import MATCH, MODES, SizeRequest, size_widgets
from .values import checked


class TinySRUpscaleVideo:
    """Frames are decoded, enlarged and encoded one by one. A run that was broken off goes on where it was."""

    CATEGORY = "image/upscaling"
    DESCRIPTION = (
        "Enlarges a video of any length with TinySR, or with any other upscale model. Frames go from file to file one "
        "by one, so that memory stays the same; audio, timestamps and colours are kept. A cancelled run goes on where "
        "it was when it is queued again."
    )
    SEARCH_ALIASES = ("video upscale", "upscale video", "super resolution", "superres", "enlarge video")
    RETURN_TYPES = ("VIDEO", "STRING")
    RETURN_NAMES = ("video", "path")
    OUTPUT_TOOLTIPS = ("The enlarged video. It is saved already.", "Where it is.")
    FUNCTION = "upscale"
    OUTPUT_NODE = True

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        return {
            "required": {
                "upscale_model": ("UPSCALE_MODEL", {"tooltip": "From Load TinySR or any other upscale model loader."}),
                "video": ("VIDEO", {"tooltip": "From Load Video."}),
                **size_widgets([mode for mode in MODES if mode != MATCH]),
                "codec": (
                    list(CODECS),
                    {
                        "tooltip": "h264: an .mp4 that plays everywhere. h265: smaller. prores: a .mov for editing. "
                        "ffv1: an .mkv without any loss."
                    },
                ),
                "filename_prefix": (
                    "STRING",
                    {"default": "TinySR/video", "tooltip": "Folder and name within ComfyUI's output folder."},
                ),
            },
            "optional": {
                "quality": (
                    "INT",
                    {"default": 18, "min": 0, "max": 51}
                    | {
                        "tooltip": "Constant rate factor of h264 and h265: lower is better and larger, 0 loses nothing."
                    },
                ),
                "divisible_by": (
                    "INT",
                    {"default": 2, "min": 1, "max": 512}
                    | {"tooltip": "Both sides become multiples of this, cut off evenly. Most codecs need 2."},
                ),
                **run_widgets(),
            },
            "hidden": {"unique_id": "UNIQUE_ID", "prompt": "PROMPT", "extra_pnginfo": "EXTRA_PNGINFO"},
        }

    def __init__(self) -> None:
        self._cpu_engine = CpuEngine()

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
            RequestError: a value is none that the node takes.
            PictureError: the video cannot be read or written.
            MemoryLimitError: a frame does not fit into memory.
        """
        source, start, duration = host.video_source(video)
        target = host.device(device)
        upscaler = upscaler_for(upscale_model, target, precision, tile or None, self._cpu_engine)
        request = SizeRequest(size, factor, width, height, megapixels, divisible_by)
        enlarge = Enlarge(upscaler, target)
        needed = 0

        def enlarged(pixels: Any) -> Any:
            nonlocal needed
            sizing = request.sizing(pixels.shape[2], pixels.shape[3], upscaler.scale)
            if not needed:
                needed = working_memory(upscaler, sizing, (*pixels.shape[2:], 3))
                host.require_memory(needed, f"A frame of {sizing.kept[1]} x {sizing.kept[0]} pixels")
            result, _ = enlarge(torch.from_numpy(pixels), None, sizing, lambda done, total: host.check_cancelled())
            return result.cpu().numpy()

        bar = host.progress_bar(1)

        def show(progress: VideoProgress) -> None:
            bar(0, progress.done, max(progress.total, progress.done, 1))
            host.show_text(_told(progress), unique_id)

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
            progress=show,
        )
        return {"ui": {"images": [shown], "animated": (True,)}, "result": (host.video_from_file(path), str(path))}


def _told(progress: VideoProgress) -> str:
    """The progress as a line for people."""
    frames_done = f"{progress.done} of {progress.total} frames" if progress.total else f"{progress.done} frames"
    left = progress.seconds_left
    if left is None:
        return frames_done
    minutes, seconds = divmod(round(left), 60)
    return f"{frames_done}, {progress.frames_per_second:.1f} frames/s, {minutes}:{seconds:02} left"
