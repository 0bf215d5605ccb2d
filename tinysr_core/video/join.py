"""Join the encoded segments of a video with the audio of its source, by copying packets."""

import heapq
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

from ..errors import PictureError
from ..util import atomic_write
from .source import Span, start_of

LEAD = 60
"""Seconds that are added to timestamps within segments: decoding times before 0 would shift all times of a file."""

Packets = Iterator[tuple[float, int, Any]]
"""Packets with their decoding time in seconds, and a number that orders streams where times are equal."""


def require_audio_fits(video: Any, output: Path) -> None:
    """Check that the audio of `video` can be copied into `output`, by writing a header into memory.

    Raises:
        PictureError: the container cannot hold the audio.
    """
    import av
    from av.error import FFmpegError

    if not video.streams.audio:
        return
    name = "matroska" if output.suffix.lower() == ".mkv" else output.suffix.lower()[1:]
    try:
        with av.open(BytesIO(), "w", format=name) as trial:
            for audio in video.streams.audio:
                trial.add_stream_from_template(audio)
            trial.start_encoding()
    except (FFmpegError, ValueError) as error:
        kinds = ", ".join(audio.codec_context.name for audio in video.streams.audio)
        raise PictureError(f"A {output.suffix} file cannot hold this audio ({kinds}); write an .mkv file.") from error


def join(segments: list[Path], source: Any, output: Path, span: Span, metadata: dict[str, str]) -> None:
    """Write `output`: the video packets of `segments`, and the audio packets of `source` that lie in `span`.

    Args:
        source: the open source.
        metadata: that of the file.
    """
    import av

    options = {} if output.suffix.lower() == ".mkv" else {"movflags": "use_metadata_tags+faststart"}
    with atomic_write(output) as path, av.open(str(path), "w", options=options) as file:
        file.metadata.update(metadata)
        with av.open(str(segments[0])) as first:
            stream = file.add_stream_from_template(first.streams.video[0])
            if first.streams.video[0].codec_context.name == "hevc" and output.suffix.lower() != ".mkv":
                stream.codec_context.codec_tag = "hvc1"  # the only tag that QuickTime plays
            sources = [_video_packets(segments, stream)]
            if source.streams.audio:
                copies = {audio.index: file.add_stream_from_template(audio) for audio in source.streams.audio}
                sources.append(_audio_packets(source, copies, span))
            for _, _, packet in heapq.merge(*sources, key=lambda entry: entry[:2]):
                file.mux(packet)


def _video_packets(segments: list[Path], stream: Any) -> Packets:
    """The packets of all segments. Segments store no decoding times; they follow from the order of the packets."""
    last = -(2**62)
    for segment in segments:
        shown = [packet.pts for packet in _packets(segment)]
        in_order = sorted(shown)
        delay = max(early - pts for early, pts in zip(in_order, shown, strict=True))
        for packet, pts in zip(_packets(segment), in_order, strict=True):
            lead = round(LEAD / packet.time_base)
            packet.pts -= lead
            last = packet.dts = max(pts - delay - lead, last + 1)
            packet.stream = stream
            yield float(packet.dts * packet.time_base), 0, packet


def _packets(segment: Path) -> Iterator[Any]:
    import av

    with av.open(str(segment)) as file:
        yield from (packet for packet in file.demux(video=0) if packet.pts is not None)


def _audio_packets(video: Any, copies: dict[int, Any], span: Span) -> Packets:
    start = start_of(video, span)
    for packet in video.demux(*video.streams.audio):
        if packet.dts is None:
            continue
        shift = round(start / packet.time_base)
        packet.dts -= shift
        packet.pts = packet.dts if packet.pts is None else packet.pts - shift
        seconds = float(packet.pts * packet.time_base)
        if (span.start and seconds < 0) or (span.duration and seconds >= span.duration):
            continue
        packet.stream = copies[packet.stream.index]
        yield seconds, 1, packet
