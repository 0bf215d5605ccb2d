"""Videos of any length: decode, upscale and encode one frame at a time.

PyAV is imported when a video is opened.
"""

from .codecs import CODECS, Encoding
from .source import VideoInfo, read_video_info
from .streaming import VideoProgress, transcode
from .upscale import VIDEO_SUFFIXES, upscale_video

__all__ = [
    "CODECS",
    "VIDEO_SUFFIXES",
    "Encoding",
    "VideoInfo",
    "VideoProgress",
    "read_video_info",
    "transcode",
    "upscale_video",
]
