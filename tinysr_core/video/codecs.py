"""The codecs that videos are encoded with, and the files that can hold them."""

from dataclasses import dataclass
from pathlib import Path

from ..errors import RequestError


@dataclass(frozen=True)
class Codec:
    """A video codec, as FFmpeg offers it."""

    encoder: str
    suffixes: tuple[str, ...]
    """Files that can hold it; the first is the usual one."""
    formats: tuple[str, str]
    """Pixel formats for videos of 8 bits, and of more."""
    quality: int | None = None
    """Default of `Encoding.quality`; None: the codec has no such setting."""
    options: tuple[tuple[str, str], ...] = ()
    segment: str = ".nut"
    """Suffix of segments. NUT stores timestamps exactly."""
    even: bool = True
    """Whether sides must be even."""

    def cropped(self, height: int, width: int) -> tuple[int, int]:
        """The height and width that the codec can hold: odd sides lose a row or a column where it wants even ones."""
        return (max(2, height - height % 2), max(2, width - width % 2)) if self.even else (height, width)


CODECS = {
    "h264": Codec("libx264", (".mp4", ".mov", ".mkv"), ("yuv420p", "yuv420p10le"), 18),
    "h265": Codec(
        "libx265", (".mp4", ".mov", ".mkv"), ("yuv420p", "yuv420p10le"), 20, (("x265-params", "log-level=1"),)
    ),
    "prores": Codec(
        "prores_ks", (".mov", ".mkv"), ("yuv422p10le", "yuv422p10le"), options=(("profile", "hq"),), segment=".mov"
    ),
    "ffv1": Codec("ffv1", (".mkv",), ("yuv444p", "yuv444p10le"), options=(("level", "3"),), even=False),
}
"""h264 plays everywhere; h265 makes smaller files; prores is for editing; ffv1 is lossless."""


@dataclass(frozen=True)
class Encoding:
    """How a video is encoded.

    Raises:
        RequestError: the codec is unknown, or the quality is out of range.
    """

    codec: str = "h264"
    """One of `CODECS`."""
    quality: int | None = None
    """Constant rate factor of h264 and h265, 0 (lossless) to 51; None: 18 and 20, visually lossless."""

    def __post_init__(self) -> None:
        if self.codec not in CODECS:
            raise RequestError(f"There is no video codec {self.codec!r}; choose among {', '.join(CODECS)}.")
        if self.quality is not None and not 0 <= self.quality <= 51:
            raise RequestError(f"The video quality is {self.quality}; give a number from 0 to 51.")

    @property
    def options(self) -> dict[str, str]:
        """The options of FFmpeg's encoder."""
        codec = CODECS[self.codec]
        quality = codec.quality if self.quality is None else self.quality
        return dict(codec.options) | ({} if codec.quality is None else {"crf": str(quality)})

    def require_suffix(self, path: Path) -> None:
        """Check that a file can hold the codec.

        Raises:
            RequestError: `path` has another suffix.
        """
        suffixes = CODECS[self.codec].suffixes
        if path.suffix.lower() not in suffixes:
            raise RequestError(f"{path} cannot hold {self.codec} video; use the suffix {' or '.join(suffixes)}.")
