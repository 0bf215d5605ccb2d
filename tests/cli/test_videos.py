"""`tinysr upscale clip.mp4`."""

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from tinysr_core.cli.job_display import JobDisplay
from tinysr_core.video import VideoProgress, streaming

from .conftest import contents, photo

av = pytest.importorskip("av")

Upscale = Callable[..., int]
FRAMES = 20


def clip(path: Path, *, audio: bool = True, metadata: dict[str, str] | None = None) -> Path:
    """A video of 20 frames of 40 x 30 pixels, with silence."""
    with av.open(str(path), "w", options={"movflags": "use_metadata_tags"} if path.suffix == ".mp4" else {}) as file:
        file.metadata.update(metadata or {})
        stream = file.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 40, 30, "yuv420p"
        sound: Any = file.add_stream("aac", rate=48000) if audio else None
        for number in range(FRAMES):
            levels = np.full((30, 40, 3), 10 * number, np.uint8)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(levels, "rgb24")))
        file.mux(stream.encode())
        for start in range(0, 48000 if audio else 0, 1024):
            samples = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), "fltp", "stereo")
            samples.sample_rate, samples.pts = 48000, start
            file.mux(sound.encode(samples))
        if audio:
            file.mux(sound.encode())
    return path


def facts(path: Path) -> tuple[str, tuple[int, int], int, int]:
    """Codec, width and height, number of frames and of audio streams."""
    with av.open(str(path)) as file:
        context = file.streams.video[0].codec_context
        frames = sum(1 for _ in file.decode(video=0))
        return context.name, (context.width, context.height), frames, len(file.streams.audio)


def test_a_video_is_upscaled_beside_itself(
    upscale: Upscale, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, result = clip(tmp_path / "clip.mp4"), tmp_path / "clip_x2.mp4"
    assert upscale(source) == 0
    assert facts(result) == ("h264", (80, 60), FRAMES, 1)
    assert "20 frames, 40 x 30 to 80 x 60" in capsys.readouterr().err
    assert upscale(source) == 0
    assert "is finished" in capsys.readouterr().err
    assert upscale(source, "--video-quality", 30, "--json") == 0
    outcome, _ = map(json.loads, capsys.readouterr().out.splitlines())
    assert (outcome["status"], outcome["frames"], outcome["output_size"]) == ("done", FRAMES, [80, 60])
    result.write_bytes(b"mine")
    assert upscale(source) == 0
    assert result.read_bytes() == b"mine"
    assert upscale(source, "--overwrite") == 0
    assert facts(result)[0] == "h264"
    assert {path.name for path in tmp_path.iterdir()} == {"clip.mp4", "clip_x2.mp4", ".tinysr.jsonl"}


def test_size_codec_and_output_are_those_asked_for(upscale: Upscale, tmp_path: Path) -> None:
    source = clip(tmp_path / "clip.avi", audio=False)
    assert upscale(source, "--size", "71x41", "--video-codec", "ffv1", "-o", tmp_path / "a.mkv") == 0
    assert facts(tmp_path / "a.mkv") == ("ffv1", (71, 41), FRAMES, 0)
    assert upscale(source, "--size", "71x41", "--sharpen", "-o", f"{tmp_path}/out/") == 0
    assert facts(tmp_path / "out" / "clip.mp4") == ("h264", (70, 40), FRAMES, 0)


def test_a_dry_run_tells_frames_and_sizes(upscale: Upscale, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, picture = clip(tmp_path / "clip.mp4"), photo(tmp_path / "a.jpg")
    before = contents(tmp_path)
    assert upscale(source, picture, "--dry-run", "--scale", 1.55) == 0
    out, err = capsys.readouterr()
    assert "clip_x1.55.mp4 (20 frames, 40 x 30 to 62 x 46)" in out
    assert "1 pictures and 1 videos" in err
    assert contents(tmp_path) == before


def test_an_interrupted_run_resumes(
    upscale: Upscale, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(streaming, "SEGMENT", 8)
    source = clip(tmp_path / "clip.mp4")
    shown: list[int] = []

    def interrupt(display: JobDisplay, video: Path, progress: VideoProgress) -> None:
        shown.append(progress.done)
        if progress.done == 13:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(JobDisplay, "update_video", interrupt)
        assert upscale(source) == 130
        assert "run the same command to resume" in capsys.readouterr().err
        assert not (tmp_path / "clip_x2.mp4").exists()
        shown.clear()
        assert upscale(source, "--scale", 3) == 130
        assert shown[0] == 0, "the frames have another size"
        shown.clear()
        patch.setattr(JobDisplay, "update_video", lambda display, video, progress: shown.append(progress.done))
        assert upscale(source) == 0
    assert shown[0] == 8 and facts(tmp_path / "clip_x2.mp4")[2] == FRAMES


def test_a_broken_video_does_not_stop_the_rest(
    upscale: Upscale, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.mp4").write_text("no video")
    picture, source = photo(tmp_path / "b.jpg"), clip(tmp_path / "c.mp4")
    assert upscale(tmp_path / "a.mp4", tmp_path / "missing.mov", source, picture) == 1
    err = capsys.readouterr().err
    assert "a.mp4 cannot be read as a video" in err and "missing.mov" in err
    assert "2 of 4 files upscaled, 2 failed." in err
    assert facts(tmp_path / "c_x2.mp4")[2] == FRAMES and (tmp_path / "b_x2.jpg").exists()


def test_options_that_do_not_fit_videos(
    upscale: Upscale, refuses: Callable[..., str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = clip(tmp_path / "clip.mp4")
    assert "without --in-place" in refuses(lambda: upscale(source, "--in-place"))
    for message, options in {
        "cannot hold h264": ["-o", tmp_path / "a.jpg"],
        "cannot hold prores": ["--video-codec", "prores", "-o", tmp_path / "a.mp4"],
        "name a file with -o": ["-o", "-"],
        "quality is 60": ["--video-quality", 60],
        "need a folder": [photo(tmp_path / "b.jpg"), "-o", tmp_path / "a.mp4"],
    }.items():
        assert message in refuses(lambda options=options: upscale(source, *options), 2)
    assert upscale(source, "--format", "jpg", "--skip-larger-than", 50) == 0
    assert "are for pictures" in capsys.readouterr().err
    for dry_run in ([], ["--dry-run"]):
        assert upscale(source, "--skip-larger-than", 39, "-o", f"{tmp_path}/out/", *dry_run) == 0
    assert not (tmp_path / "out" / "clip.mp4").exists()
    assert "clip.mp4: larger" in capsys.readouterr().out


def test_a_missing_pyav_is_an_error(
    upscale: Upscale, refuses: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = clip(tmp_path / "clip.mp4")
    monkeypatch.setitem(sys.modules, "av", None)
    assert ".[video]" in refuses(lambda: upscale(source))


@pytest.mark.parametrize(("keep", "kept"), [("all", {"title", "location"}), ("no-gps", {"title"}), ("none", set())])
def test_metadata_are_kept_or_left_out(upscale: Upscale, tmp_path: Path, keep: str, kept: set[str]) -> None:
    metadata = {"title": "A title", "location": "+48.1+11.6/"}
    source = clip(tmp_path / "clip.mp4", audio=False, metadata=metadata)
    assert upscale(source, "--keep", keep, "--keep-mtime") == 0
    with av.open(str(tmp_path / "clip_x2.mp4")) as file:
        assert set(metadata) & set(file.metadata) == kept
    assert (tmp_path / "clip_x2.mp4").stat().st_mtime_ns == source.stat().st_mtime_ns


def test_progress_of_a_video_is_printed_in_lines_where_there_is_no_terminal() -> None:
    stream, now = io.StringIO(), [0.0]
    display = JobDisplay(Console(file=stream), 2, bar=True, clock=lambda: now[0])
    with display:
        for seconds, done, total in [(1, 0, 300), (11, 60, 300), (22, 120, 300), (33, 120, 0)]:
            now[0] = seconds
            display.update_video(Path("clip.mp4"), VideoProgress(done, total, 6.0 if done else 0))
    assert stream.getvalue().splitlines() == [
        "1/2 clip.mp4, frame 60 of 300, 6.00 frames/s: 20%, about 40 s left",
        "1/2 clip.mp4, frame 120 of 300, 6.00 frames/s: 40%, about 30 s left",
        "1/2 clip.mp4, frame 120, 6.00 frames/s",
    ]
