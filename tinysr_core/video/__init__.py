"""Videos of any length: decode, upscale and encode a frame at a time.

Needs PyAV, which is imported when a video is read.
"""

from .codecs import CODECS, Encoding
from .streaming import VideoProgress, transcode
from .upscale import VIDEO_SUFFIXES, upscale_video

__all__ = ["CODECS", "VIDEO_SUFFIXES", "Encoding", "VideoProgress", "transcode", "upscale_video"]
