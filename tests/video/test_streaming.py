"""The result of a video has its frames, times, colours and audio; an interrupted run resumes."""

import tracemalloc
from fractions import Fraction
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinysr_core.engines import Upscaler, load_upscaler
from tinysr_core.errors import PictureError, RequestError
from tinysr_core.images import Clean
from tinysr_core.postprocess import ExactSize, Finish, resize
from tinysr_core.video import (
    CODECS,
    Encoding,
    VideoProgress,
    read_video_info,
    streaming,
    transcode,
    upscale_video,
)

av = pytest.importorskip("av")

SIDES = 48, 64
TIMES = np.cumsum([0, 40, 40, 80, 40, 10, 70] + [40] * 23)
"""Milliseconds at which frames are shown, unevenly."""


def picture(number: int, height: int = SIDES[0], width: int = SIDES[1]) -> np.ndarray:
    rows, columns = np.ogrid[:height, :width]
    red, blue = 255 * rows / height + 0 * columns, 255 * columns / width + 0 * rows
    return np.stack([red, np.full_like(red, 8 * number % 256), blue], -1).astype(np.uint8)


def write(
    path: Path, *, tags: tuple[int, int, int, int] = (2, 0, 2, 2), pixel_format: str = "yuv420p", audio: bool = True
) -> Path:
    """A video of 30 frames, 1.23 s, with a tone."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=25, options={"crf": "1"})
        stream.height, stream.width = SIDES
        stream.pix_fmt = pixel_format
        context = stream.codec_context
        context.time_base = Fraction(1, 1000)
        context.colorspace, context.color_range, context.color_trc, context.color_primaries = tags
        sound: Any = file.add_stream("aac", rate=48000) if audio else None
        for number, time in enumerate(TIMES):
            frame = av.VideoFrame.from_ndarray(picture(number), "rgb24")
            frame = frame.reformat(format=pixel_format, dst_colorspace=5, dst_color_range=1)
            frame.pts, frame.time_base = int(time), Fraction(1, 1000)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
        for start in range(0, 48000 if audio else 0, 1024):
            tone = np.sin(np.arange(start, start + 1024) / 20).astype(np.float32)[None]
            samples = av.AudioFrame.from_ndarray(np.repeat(tone, 2, 0), "fltp", "stereo")
            samples.sample_rate, samples.pts = 48000, start
            file.mux(sound.encode(samples))
        if audio:
            file.mux(sound.encode())
    return path


def read(path: Path) -> tuple[list[float], list[np.ndarray]]:
    with av.open(str(path)) as file:
        frames = list(file.decode(video=0))
    return [frame.time for frame in frames], [frame.to_ndarray(format="rgb24") for frame in frames]


def twice(pixels: np.ndarray) -> np.ndarray:
    return pixels.repeat(2, 2).repeat(2, 3)


class Repeat:
    """An engine that repeats pixels."""

    scale, halo, border, pool_halo, tile, only_enlarges, fallback = 2, 0, 0, None, 512, True, None
    takes_batches, parallel = False, 1

    def run(self, image: Any, gate: Any) -> Any:
        return twice(image)

    def moved(self, image: Any) -> Any:
        return image


@pytest.fixture(autouse=True)
def small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "SEGMENT", 8)


@pytest.mark.parametrize("codec", CODECS)
def test_frames_times_and_audio_come_through(tmp_path: Path, codec: str) -> None:
    source = write(tmp_path / "in.mp4")
    output = tmp_path / f"out{CODECS[codec].suffixes[0]}"
    transcode(source, output, twice, Encoding(codec), request="twice")
    times, frames = read(output)
    expected_times, expected = read(source)
    shift = times[0] - expected_times[0]  # Matroska cannot store the audio before 0, and shifts everything
    np.testing.assert_allclose(np.subtract(times, shift), expected_times, atol=0.0011)
    assert abs(shift) < 0.03
    for got, frame in zip(frames, expected, strict=True):
        assert np.abs(got.astype(int) - frame.repeat(2, 0).repeat(2, 1)).mean() < 3
    with av.open(str(source)) as before, av.open(str(output)) as after:
        first, second = ([bytes(packet) for packet in file.demux(audio=0)] for file in (before, after))
        assert first == second
        assert after.streams.video[0].codec_context.width == 128
    assert {path.name for path in tmp_path.iterdir()} == {source.name, output.name}


@pytest.mark.parametrize("tags", [(1, 1, 1, 1), (5, 1, 6, 5), (9, 1, 16, 9), (2, 0, 2, 2)])
def test_colours_and_depth_stay(tmp_path: Path, tags: tuple[int, int, int, int]) -> None:
    source = write(tmp_path / "in.mp4", tags=tags, pixel_format="yuv420p10le", audio=False)
    if tags[0] == 9 and int(av.__version__.split(".")[0]) < 18:  # it uses the matrix of BT.601
        with pytest.raises(RequestError, match="PyAV 18"):
            transcode(source, tmp_path / "out.mp4", twice, Encoding(quality=1), request="twice")
        return
    transcode(source, tmp_path / "out.mp4", twice, Encoding(quality=1), request="twice")
    with av.open(str(source)) as before, av.open(str(tmp_path / "out.mp4")) as after:
        first, second = next(before.decode(video=0)), next(after.decode(video=0))
    for name in ("colorspace", "color_range", "color_trc", "color_primaries"):
        assert getattr(first, name) == getattr(second, name), name
    assert second.format.name == "yuv420p10le"
    luma, enlarged = (frame.to_ndarray(format="gray16le").astype(int) for frame in (first, second))
    assert np.abs(enlarged[::2, ::2] - luma).mean() < 400


def test_frames_may_go_together(tmp_path: Path) -> None:
    source = write(tmp_path / "in.mp4")
    transcode(source, tmp_path / "alone.mp4", twice, Encoding(), request="alone")
    taken: list[int] = []

    def counted(pixels: np.ndarray) -> np.ndarray:
        taken.append(len(pixels))
        return twice(pixels)

    def three(height: int, width: int) -> int:
        assert (height, width) == (48, 64)
        return 3

    transcode(source, tmp_path / "out.mp4", counted, Encoding(), request="three", at_once=three)
    assert taken == [3, 3, 2] * 3 + [3, 3], "a segment has 8 frames"
    assert (tmp_path / "out.mp4").read_bytes() == (tmp_path / "alone.mp4").read_bytes()


def test_an_interrupted_run_resumes(tmp_path: Path) -> None:
    source = write(tmp_path / "in.mp4")
    transcode(source, tmp_path / "whole.mp4", twice, Encoding(), request="twice")
    made: list[int] = []

    def counted(pixels: np.ndarray) -> np.ndarray:
        made.append(len(made))
        return twice(pixels)

    def cancel(progress: VideoProgress) -> None:
        if progress.done == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        transcode(source, tmp_path / "out.mp4", counted, Encoding(), request="twice", progress=cancel)
    assert len(made) == 20 and not (tmp_path / "out.mp4").exists()
    made.clear()
    told: list[VideoProgress] = []
    transcode(source, tmp_path / "out.mp4", counted, Encoding(), request="twice", progress=told.append)
    assert len(made) == 14, "two segments of 8 frames were there"
    assert (told[0].done, told[-1].done, told[-1].total) == (16, 30, 30)
    assert (tmp_path / "out.mp4").read_bytes() == (tmp_path / "whole.mp4").read_bytes()
    made.clear()
    transcode(source, tmp_path / "again.mp4", counted, Encoding(), request="other")
    assert len(made) == 30, "another request must not take them"


def test_a_part_of_a_video(tmp_path: Path) -> None:
    source = write(tmp_path / "in.mp4")
    data = BytesIO(source.read_bytes())
    transcode(data, tmp_path / "out.mp4", twice, Encoding(), request="twice", start=0.2, duration=0.5)
    times, frames = read(tmp_path / "out.mp4")
    wanted = [time for time in TIMES if 200 <= time < 700]
    np.testing.assert_allclose(times, np.subtract(wanted, 200) / 1000, atol=0.001)
    _, expected = read(source)
    assert np.abs(frames[0][::2, ::2].astype(int) - expected[list(TIMES).index(wanted[0])]).mean() < 3


def test_rotated_videos_are_turned_upright_with_the_shape_of_their_pixels(tmp_path: Path) -> None:
    source = tmp_path / "in.mp4"
    with av.open(str(source), "w") as file:
        stream = file.add_stream("mpeg4", rate=25)
        stream.height, stream.width, stream.pix_fmt = *SIDES, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(2, 1)
        if not hasattr(stream, "set_display_rotation"):
            pytest.skip("this PyAV cannot write a rotation")
        stream.set_display_rotation(-90)  # players turn it clockwise
        file.mux(stream.encode(av.VideoFrame.from_ndarray(picture(0), "rgb24")))
        file.mux(stream.encode())
    info = read_video_info(source)
    assert (info.width, info.height, info.frames) == (48, 64, 1)
    transcode(source, tmp_path / "out.mp4", twice, Encoding(), request="twice")
    _, (frame,) = read(tmp_path / "out.mp4")
    assert frame.shape == (128, 96, 3)
    upright = np.rot90(picture(0), -1).repeat(2, 0).repeat(2, 1)
    assert np.abs(frame.astype(int) - upright).mean() < 8
    with av.open(str(tmp_path / "out.mp4")) as file:
        assert file.streams.video[0].sample_aspect_ratio == Fraction(1, 2)


def test_all_frames_are_cleaned_alike(tmp_path: Path) -> None:
    source = write(tmp_path / "in.mp4", audio=False)

    class Choosing(Upscaler):
        @property
        def for_video(self) -> tuple[Upscaler, Clean]:
            return Upscaler(self.engine), Clean(1, "a test")

        def for_picture(self, image: Any, jpeg_quality: float | None = None) -> tuple[Upscaler, Clean]:
            raise AssertionError("asked for each frame")

    clean = upscale_video(source, tmp_path / "out.mp4", Choosing(Repeat()), model="repeat")
    assert clean is not None and clean.reason == "a test"


def test_time_left() -> None:
    assert VideoProgress(10, 30, 4).seconds_left == 5
    assert VideoProgress(10, 0, 4).seconds_left is None
    assert VideoProgress(0, 30, 0).seconds_left is None


def test_memory_does_not_grow_with_the_length(tmp_path: Path) -> None:
    source = write(tmp_path / "in.mp4", audio=False)
    peaks: list[int] = []

    def measured(pixels: np.ndarray) -> np.ndarray:
        peaks.append(tracemalloc.get_traced_memory()[0])
        return twice(pixels)

    tracemalloc.start()
    transcode(source, tmp_path / "out.mp4", measured, Encoding(), request="twice")
    tracemalloc.stop()
    assert max(peaks[15:]) < max(peaks[:15]) + 100_000


def test_invalid_requests_and_files_are_refused(tmp_path: Path) -> None:
    source = write(tmp_path / "in.mp4")
    with pytest.raises(RequestError, match="prores"):
        transcode(source, tmp_path / "out.mp4", twice, Encoding("prores"), request="")
    with pytest.raises(RequestError, match="codec 'divx'"):
        Encoding("divx")
    with pytest.raises(RequestError, match="quality"):
        Encoding(quality=60)
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(PictureError, match="cannot be read as a video"):
        transcode(tmp_path / "text.mp4", tmp_path / "out.mp4", twice, Encoding(), request="")
    assert not (tmp_path / "out.mp4").exists()


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_noise_flickers_little_more_than_in_the_frames(scale: int) -> None:
    """A still picture with new noise in each frame, through the shipped weights as a video goes through them."""
    random = np.random.default_rng(0)
    still = resize(random.random((1, 3, 8, 8), dtype=np.float32), 48, 48).clip(0.1, 0.9)
    frames = [(still + random.normal(0, 2 / 255, still.shape)).astype(np.float32) for _ in range(3)]

    def flicker(upscaler: Upscaler) -> float:
        results = [upscaler.upscale(frame) for frame in frames]
        own, ours = (sum(np.abs(b - a).mean() for a, b in pairwise(stack)) for stack in (frames, results))
        return ours / own

    assert flicker(load_upscaler(scale=scale, device="cpu").for_video[0]) < 1.2
    assert flicker(load_upscaler(scale=scale, device="cpu", clean=0)) > 1.2


def test_through_a_network_to_even_sides(tmp_path: Path) -> None:
    source = write(tmp_path / "in.mp4", audio=False)
    finish = Finish(size=ExactSize(width=81, height=61))
    upscale_video(source, tmp_path / "out.mp4", Upscaler(Repeat()), finish, model="repeat")
    _, frames = read(tmp_path / "out.mp4")
    assert {frame.shape for frame in frames} == {(60, 80, 3)}
