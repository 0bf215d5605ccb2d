"""`tinysr upscale`: options, streams, defaults, output."""

import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

import tinysr_core
from tinysr_core.cli import job_display
from tinysr_core.cli.defaults import with_defaults
from tinysr_core.cli.main import main
from tinysr_core.errors import RequestError
from tinysr_core.images import read_picture

from .conftest import contents, photo

ROOT = Path(__file__).parents[2]
Upscale = Callable[..., int]


class Bytes:
    """A replacement for sys.stdin and sys.stdout."""

    def __init__(self, data: bytes = b"") -> None:
        self.buffer = io.BytesIO(data)

    def isatty(self) -> bool:
        return False

    def flush(self) -> None:
        pass


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"tinysr {tinysr_core.__version__}\n"


def test_short_options_and_formats_by_their_suffix(network: Path, tmp_path: Path) -> None:
    picture = photo(tmp_path / "a.png")
    assert (
        main(["upscale", str(picture), "-m", str(network), "-s", "1.5", "-f", "jpg", "-o", f"{tmp_path}/out.2/"]) == 0
    )
    with Image.open(tmp_path / "out.2" / "a.jpg") as result:
        assert (result.format, result.size) == ("JPEG", (60, 45))


def test_names_by_suffix_and_pattern(upscale: Upscale, tmp_path: Path) -> None:
    picture = photo(tmp_path / "a.jpg")
    assert upscale(picture, "--suffix", "_{large}") == 0
    assert upscale(picture, "--name-pattern", "{name}.{model}.{size}") == 0
    assert {"a_{large}.jpg", "a.net.x2.jpg"} <= {path.name for path in tmp_path.iterdir()}


def test_in_place(upscale: Upscale, tmp_path: Path) -> None:
    picture = photo(tmp_path / "a.jpg")
    before = picture.read_bytes()
    assert upscale(picture, "--in-place") == 0 and upscale(picture, "--in-place") == 0
    assert read_picture(picture).width == 80 and (tmp_path / "a.jpg.orig").read_bytes() == before
    other = photo(tmp_path / "b.jpg")
    assert upscale(other, "--in-place", "--no-backup") == 0
    assert read_picture(other).width == 80 and not (tmp_path / "b.jpg.orig").exists()


def test_a_dry_run_changes_nothing(upscale: Upscale, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo(tmp_path / "in" / "a.jpg")
    (tmp_path / "in" / "raw.cr2").touch()
    before = contents(tmp_path)
    assert upscale(tmp_path / "in", "--dry-run") == 0
    out, err = capsys.readouterr()
    assert "a.jpg (40 x 30 to 80 x 60)" in out and "1 pictures" in err and "about" in err
    assert upscale(tmp_path / "in", "-n", "--json") == 0
    assert json.loads(capsys.readouterr().out)["output_size"] == [80, 60]
    assert contents(tmp_path) == before
    assert upscale(tmp_path / "in") == 0
    capsys.readouterr()
    assert upscale(tmp_path / "in", "--dry-run") == 0
    assert "nothing to do" in capsys.readouterr().err


def test_streams(
    upscale: Upscale, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = photo(tmp_path / "a.jpg")
    for arguments, kind in [(["-"], "JPEG"), (["-", "-o", "-", "-f", "png"], "PNG"), ([picture, "-o", "-"], "JPEG")]:
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdin", Bytes(picture.read_bytes()))
            patch.setattr(sys, "stdout", stdout := Bytes())
            assert upscale(*arguments) == 0
        with Image.open(stdout.buffer) as result:
            assert (result.format, result.size) == (kind, (80, 60))
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdin", Bytes(picture.read_bytes()))
        assert upscale("-", "-o", tmp_path / "out.png") == 0
    assert read_picture(tmp_path / "out.png").width == 80
    capsys.readouterr()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdin", Bytes(b"no picture"))
        patch.setattr(sys, "stdout", Bytes())
        assert upscale("-") == 1
        assert upscale("-", picture) == upscale("-", "--json") == 2
    assert capsys.readouterr().err.startswith("tinysr: standard input is not a picture")
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".png"] == ["out.png"]


def test_files_left_out_are_counted_at_the_end(
    upscale: Upscale, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.jpg", "b.jpg", "c_small.jpg"):
        photo(tmp_path / "in" / name)
    for name in ("1.cr2", "2.CR2", "x.jxl", "none"):
        (tmp_path / "in" / name).touch()
    assert upscale(tmp_path / "in", tmp_path / "in" / "a.jpg", "--exclude", "*_small.*", "--workers", 1) == 0
    err = capsys.readouterr().err
    assert "2 of 2 pictures upscaled." in err and "1 inputs were left out" in err
    assert "2 .cr2" in err and "1 .jxl" in err and "1 without suffix" in err


def test_notes_of_a_folder_are_summed_up(upscale: Upscale, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in").mkdir()
    for name in "abc":
        Image.new("RGBA", (20, 10), (9, 9, 9, 90)).save(tmp_path / "in" / f"{name}.png")
    options = [tmp_path / "in", "--format", "jpeg", "--workers", 1]
    assert upscale(*options) == 0
    err = capsys.readouterr().err
    assert err.count("transparency") == 1 and "(3 pictures)" in err
    assert upscale(*options, "--overwrite", "--verbose") == 0
    assert capsys.readouterr().err.count("transparency") == 3


def test_quiet_reports_errors_only(upscale: Upscale, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo(tmp_path / "in" / "a.jpg")
    (tmp_path / "in" / "b.jpg").write_bytes(b"no picture")
    assert upscale(tmp_path / "in", "-q", "--workers", 1) == 1
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and "b.jpg is not a picture" in err


def test_progress_is_printed_in_lines_where_there_is_no_terminal() -> None:
    stream, now = io.StringIO(), [0.0]
    display = job_display.JobDisplay(Console(file=stream), 4, bar=True, clock=lambda: now[0])
    display.ended = 1
    with display:
        for seconds, share in [(1, 0.1), (11, 0.25), (12, 0.3), (22, 0.5)]:
            now[0] = seconds
            display.update(Path("large.png"), share)
    assert stream.getvalue().splitlines() == [
        "2/4 large.png: 25%, about 33 s left",
        "2/4 large.png: 50%, about 22 s left",
    ]


def test_defaults_come_from_the_configuration_and_the_environment(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text('model = "fidelity"\nscale = 3\nname-pattern = "{name}-large"\nsharpen = true\naa = false\n')
    arguments = with_defaults(["upscale", "a.jpg"], {"TINYSR_MODEL": "portrait", "TINYSR_PYTHON": "x"}, config)
    assert arguments[0] == "upscale" and arguments[-1] == "a.jpg"
    assert arguments[1:-1] == ["--model", "portrait", "--scale", "3", "--name-pattern", "{name}-large", "--sharpen"]
    assert "--scale" not in with_defaults(["upscale", "a.jpg", "--longest=9"], {}, config)
    assert "--scale" not in with_defaults(["upscale", "a.jpg", "-s", "2"], {}, config)
    assert with_defaults(["upscale", "a.jpg"], {}, tmp_path / "nothing") == ["upscale", "a.jpg"]
    for text, environment, message in [
        ("modle = 'x'", {}, "did you mean 'model'"),
        ("model = ", {}, "cannot be read"),
        ("quality = 'high'", {}, "quality in .* is 'high'"),
        ("", {"TINYSR_SCALE": "abc"}, "TINYSR_SCALE is 'abc'"),
    ]:
        config.write_text(text)
        with pytest.raises(RequestError, match=message):
            with_defaults(["upscale", "a.jpg"], environment, config)


def test_defaults_reach_the_command(
    upscale: Upscale, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TINYSR_SCALE", "3")
    assert upscale(photo(tmp_path / "a.jpg")) == 0 and read_picture(tmp_path / "a_x3.jpg").width == 120
    monkeypatch.setenv("TINYSR_SCALE", "many")
    assert upscale(tmp_path / "a.jpg") == 2 and "TINYSR_SCALE" in capsys.readouterr().err


def test_a_name_that_is_too_long_is_one_sentence(upscale: Upscale, refuses: Callable[..., str], tmp_path: Path) -> None:
    picture = photo(tmp_path / f"{'n' * 251}.jpg")
    assert "too long" in refuses(lambda: upscale(picture))


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_completion_knows_commands_and_options(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        main(["--tyro-print-completion", "bash"])
    script = tmp_path / "completion.sh"
    script.write_text(capsys.readouterr().out)
    code = f"source {script}; COMP_WORDS=(tinysr $1 $2); COMP_CWORD=$#; _tyro_tinysr; echo ${{COMPREPLY[@]}}"
    for words, completion in [(["up"], "upscale"), (["upscale", "--longe"], "--longest")]:
        answer = subprocess.run(["bash", "-c", code, "bash", *words], capture_output=True, text=True, check=True)
        assert answer.stdout.split() == [completion]


@pytest.mark.skipif(sys.platform == "win32", reason="needs file descriptors")
def test_noise_of_libraries_does_not_reach_stderr(network: Path, tmp_path: Path) -> None:
    photo(tmp_path / "a.jpg")
    code = (
        "import os, sys, warnings; from tinysr_core.images import reading; load = reading.kind_of\n"
        "def noisy(*a):\n os.write(2, b'TIFFReadDirectory: Warning'); return load(*a)\n"
        "reading.kind_of = noisy; from tinysr_core.cli.main import main\n"
        f"sys.exit(main(['upscale', {str(tmp_path / 'a.jpg')!r}, '--model', {str(network)!r}]))"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    answer = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert "TIFFReadDirectory" not in answer.stderr and "a_x2.jpg" in answer.stderr
