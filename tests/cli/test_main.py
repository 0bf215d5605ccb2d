import csv
import functools
import json
import os
import pickle
import signal
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from tinysr_core.cli.main import main
from tinysr_core.folders.records import RECORD_NAME
from tinysr_core.images import read_picture

from .conftest import photo, write_network

ROOT = Path(__file__).parents[2]


def bomb(path: Path) -> Path:
    """A PNG of a few bytes whose header says 60000 x 60000 pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100000))) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + data)
    return path


def run_program(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tinysr_core.cli", *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, **options)


# success


def test_a_photo_is_upscaled_beside_itself(upscale: Callable[..., int], tmp_path: Path) -> None:
    picture = photo(tmp_path / "photo.jpg")
    assert upscale(picture) == 0
    result = read_picture(tmp_path / "photo_x2.jpg")
    assert (result.width, result.height) == (80, 60)


@pytest.mark.parametrize(
    ("options", "size"),
    [
        (["--scale", "1.5"], (60, 45)),
        (["--size", "70x20"], (70, 20)),
        (["--longest", "64"], (64, 48)),
        (["--megapixels", "0.0075"], (100, 75)),
        (["--sharpen", "--aa", "--tile", "32", "--precision", "fp32", "--device", "cpu"], (80, 60)),
    ],
)
def test_options_reach_the_work(
    upscale: Callable[..., int], tmp_path: Path, options: list[str], size: tuple[int, int]
) -> None:
    assert upscale(photo(tmp_path / "photo.jpg"), "-o", tmp_path / "out.png", *options) == 0
    result = read_picture(tmp_path / "out.png")
    assert (result.width, result.height) == size


def test_sharpening_and_quality_change_the_result(upscale: Callable[..., int], tmp_path: Path) -> None:
    picture = photo(tmp_path / "photo.jpg")
    assert upscale(picture, "-o", tmp_path / "plain.jpg", "--no-sharpen", "--no-aa") == 0
    assert upscale(picture, "-o", tmp_path / "sharp.jpg", "--sharpen") == 0
    assert upscale(picture, "-o", tmp_path / "poor.jpg", "--quality", 20) == 0
    plain, sharp, poor = (tmp_path.joinpath(name).read_bytes() for name in ("plain.jpg", "sharp.jpg", "poor.jpg"))
    assert plain != sharp and len(poor) < len(plain)


@pytest.mark.parametrize(("width", "height"), [(1, 1), (3, 4000), (4000, 3)])
def test_odd_shapes_are_upscaled(upscale: Callable[..., int], tmp_path: Path, width: int, height: int) -> None:
    assert upscale(photo(tmp_path / "odd.jpg", width, height), "--sharpen", "--aa", "--format", "png") == 0
    result = read_picture(tmp_path / "odd_x2.png")
    assert (result.width, result.height) == (2 * width, 2 * height)


def test_the_content_decides_not_the_suffix(upscale: Callable[..., int], tmp_path: Path) -> None:
    assert upscale(photo(tmp_path / "really_a_jpeg.png")) == 0
    assert read_picture(tmp_path / "really_a_jpeg_x2.png").width == 80


def test_json_is_one_object_per_picture_on_stdout(
    upscale: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo(tmp_path / "a.jpg")
    (tmp_path / "b.jpg").write_bytes(b"no picture")
    photo(tmp_path / "c.jpg")
    photo(tmp_path / "c_done.jpg")
    assert upscale(tmp_path, "-o", tmp_path / "out", "--json") == 1
    out, err = capsys.readouterr()
    a, b, c, _, summary = (json.loads(line) for line in out.splitlines())
    assert a == {
        "input": str(tmp_path / "a.jpg"),
        "output": str(tmp_path / "out" / "a.jpg"),
        "status": "done",
        "input_size": [40, 30],
        "output_size": [80, 60],
        "frames": None,
        "model": "net-x2",
        "clean": None,
        "clean_reason": None,
        "seconds": a["seconds"],
        "notes": [],
        "skipped": None,
        "error": None,
        "cause": None,
    }
    assert (b["status"], c["status"]) == ("failed", "done") and "b.jpg is not a picture" in b["error"]
    assert "3 of 4 pictures upscaled, 1 failed." in err
    assert (summary["summary"]["done"], summary["summary"]["failed"]) == (3, 1)
    assert summary["summary"]["version"] and summary["summary"]["settings"]["size"] == "x2"
    assert upscale(tmp_path, "-o", tmp_path / "out", "--json") == 1
    out, err = capsys.readouterr()
    assert [json.loads(line).get("skipped") for line in out.splitlines()].count("finished") == 3
    assert "3 finished already" in err


def test_finished_results_and_foreign_files_are_kept(
    upscale: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = photo(tmp_path / "photo.jpg")
    (tmp_path / "photo_x2.jpg").write_bytes(b"mine")
    assert upscale(picture) == 0
    assert "--overwrite replaces it" in capsys.readouterr().err
    assert (tmp_path / "photo_x2.jpg").read_bytes() == b"mine"
    assert upscale(picture, "--overwrite") == 0
    assert read_picture(tmp_path / "photo_x2.jpg").width == 80
    assert upscale(picture) == 0
    assert "is finished; --overwrite makes it again" in capsys.readouterr().err


def test_models_are_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / ".tinysr" / "models"
    folder.mkdir(parents=True)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    write_network(folder / "tinysr-mine-x2.safetensors")
    (folder / "broken.safetensors").write_bytes(b"no")
    assert main(["models"]) == 0
    out, err = capsys.readouterr()
    assert "mine" in out and "x2" in out and "broken.safetensors is not a valid safetensors file" in err
    assert main(["models", "--json"]) == 0
    (mine,) = (entry for entry in json.loads(capsys.readouterr().out) if entry["name"] == "mine")
    assert (mine["scale"], mine["channels"], mine["card"]) == (2, 16, {"title": "A test"})


def test_info_tells_about_networks_and_pictures(
    network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["info", str(network), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["card"] == {"title": "A test"}
    assert main(["info", str(photo(tmp_path / "a.jpg"))]) == 0
    out = capsys.readouterr().out
    assert "width: 40" in out and "bits: 8" in out


def test_compare_writes_a_page(tmp_path: Path) -> None:
    a, b = photo(tmp_path / "a.jpg"), photo(tmp_path / "b.jpg", 80, 60)
    assert main(["compare", str(a), str(b), "-o", str(tmp_path / "page.html")]) == 0
    assert "80 x 60" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_evaluate_writes_the_table_it_is_asked_for(
    network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo(tmp_path / "photos" / "a.jpg", 48, 36)
    evaluate = ["evaluate", "--data", str(tmp_path / "photos"), "--models", str(network)]
    assert main([*evaluate, "--methods", "lanczos"]) == 0
    assert [line.split(" | ")[1] for line in capsys.readouterr().out.splitlines()[2:]] == ["lanczos", "net-x2"]
    for suffix in ("json", "csv"):
        options = ["--worst", "1", str(tmp_path / "worst"), "-o", str(tmp_path / f"table.{suffix}")]
        assert main([*evaluate, f"{network}+sharpen", *options]) == 0
    methods = {"bicubic", "lanczos", "net-x2", "net-x2+sharpen"}
    assert {row["method"] for row in json.loads((tmp_path / "table.json").read_text())} == methods
    with (tmp_path / "table.csv").open() as stream:
        assert {row["method"] for row in csv.DictReader(stream)} == methods
    assert {path.name for path in (tmp_path / "worst").iterdir()} == {
        "net-x2-1-photos-a.png",
        "net-x2+sharpen-1-photos-a.png",
    }


def test_evaluate_refuses_invalid_requests(network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo(tmp_path / "photos" / "a.jpg", 48, 36)
    evaluate = ["evaluate", str(tmp_path / "photos"), "--models", str(network)]
    (tmp_path / "file").write_text("in the way")
    for options, message in [
        (["--scale", "3"], "enlarges 2 times, not 3"),
        (["--scale", "0"], "at least 1"),
        (["-o", str(tmp_path / "table.doc")], "write to .md, .csv or .json"),
        (["-o", str(tmp_path / "file" / "table.md")], "file cannot be created"),
        (["--worst", "1", str(tmp_path / "file")], "file cannot be created"),
        (["--lpips", str(tmp_path)], "There is no lpips_alex.safetensors"),
        (["--detail", "0.5"], "has no faithful twin"),
        (["--data", str(tmp_path / "nowhere")], "nowhere"),
        ([str(network)], "Two networks"),
    ]:
        assert main([*evaluate, *options]) in (1, 2), options
        assert message in capsys.readouterr().err
    assert main(["evaluate"]) == 2
    assert "give at least one folder" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["", "upscale", "models", "info", "compare", "evaluate", "export", "gimp"])
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([*command.split(), "--help"])
    assert end.value.code == 0
    assert f"Example: tinysr {command}" in " ".join(capsys.readouterr().out.replace("│", " ").split())


def test_gimp_commands_reach_the_installer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "GIMP" / "3.0" / "plug-ins"
    assert main(["gimp", "check", "--folder", str(folder)]) == 2
    assert "There is no folder" in capsys.readouterr().err
    folder.mkdir(parents=True)
    assert main(["gimp", "check", "--folder", str(folder)]) == 1
    assert "not installed here" in capsys.readouterr().err
    assert main(["gimp", "uninstall", "--folder", str(folder.parent)]) == 0
    assert main(["gimp", "install", "--folder", str(folder)]) == 0
    assert (folder / "tinysr-gimp" / "tinysr-gimp.py").exists()
    assert "Restart GIMP" in capsys.readouterr().out
    monkeypatch.setattr("tinysr_core.gimp.find_profiles", lambda home, environment: [])
    assert main(["gimp", "install"]) == 1
    assert "No GIMP 3 profile was found" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", ["--help", "models"])
def test_help_and_lists_import_nothing_that_loads_slowly(arguments: str) -> None:
    slow = ("torch", "openvino", "lightning", "PIL.Image", "rich.progress")
    code = (
        f"import sys, atexit; atexit.register(lambda: print([name for name in {slow} if name in sys.modules]));"
        f"from tinysr_core.cli.main import main; sys.exit(main(['{arguments}']))"
    )
    answer = subprocess.run([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": str(ROOT)}, stdout=-1)
    assert answer.returncode == 0
    assert answer.stdout.splitlines()[-1] == b"[]"


# errors


def test_bad_pictures(upscale: Callable[..., int], refuses: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "letter.png").write_text("Dear reader")
    whole = photo(tmp_path / "whole.jpg", 400, 300).read_bytes()
    (tmp_path / "truncated.jpg").write_bytes(whole[: len(whole) // 2])
    bomb(tmp_path / "bomb.png")
    for name, message in [
        ("empty.jpg", "is empty"),
        ("letter.png", "is not a picture"),
        ("bomb.png", "60000 x 60000"),
        ("missing.jpg", "There is no file"),
    ]:
        assert message in refuses(lambda name=name: upscale(tmp_path / name))
    assert "truncated" in refuses(lambda: upscale(tmp_path / "truncated.jpg", "--strict"))
    assert upscale(tmp_path / "truncated.jpg") == 0
    assert read_picture(tmp_path / "truncated_x2.jpg").width == 800


def test_an_unreadable_file(
    upscale: Callable[..., int], refuses: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked, opened = photo(tmp_path / "locked.jpg"), Path.open

    def guarded(self: Path, mode: str = "r", *arguments: object, **options: object) -> object:
        if self == locked:  # root ignores file modes
            raise PermissionError(13, "Permission denied", str(self))
        return opened(self, mode, *arguments, **options)

    def command() -> int:
        with monkeypatch.context() as patch:
            patch.setattr(Path, "open", guarded)
            return upscale(locked)

    assert "locked.jpg cannot be read: Permission denied" in refuses(command)


def test_an_unwritable_folder(
    upscale: Callable[..., int], refuses: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = photo(tmp_path / "photo.jpg")
    assert "cannot be created" in refuses(lambda: upscale(picture, "-o", picture / "out.jpg"))
    if sys.platform == "linux":
        refuses(lambda: upscale(picture, "-o", "/proc/out.jpg"))
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert "not writable" in refuses(lambda: upscale(picture))


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on file sizes")
def test_a_full_disk(upscale: Callable[..., int], refuses: Callable[..., str], tmp_path: Path) -> None:
    import resource

    picture = photo(tmp_path / "photo.jpg", 400, 300)
    (tmp_path / "photo_x2.png").write_bytes(b"an older result")

    def command() -> int:
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
        try:
            return upscale(picture, "--format", "png", "--overwrite")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    assert "photo_x2.png cannot be written" in refuses(command)


def test_an_output_that_is_the_input(upscale: Callable[..., int], refuses: Callable[..., str], tmp_path: Path) -> None:
    picture = photo(tmp_path / "photo.jpg")
    assert "would replace the input" in refuses(lambda: upscale(picture, "-o", picture, "--overwrite"))


def test_invalid_outputs_and_sizes_are_refused(
    upscale: Callable[..., int], refuses: Callable[..., str], tmp_path: Path
) -> None:
    picture = photo(tmp_path / "photo.jpg")
    for options, message in [
        (["-o", tmp_path / "out.psd"], "suffix"),
        (["--scale", "2", "--longest", "9"], "--scale and --longest"),
        (["--scale", "0"], "positive number"),
        (["--scale", "nan"], "positive number"),
        (["--size", "big"], "is not a size"),
        (["--longest", "0"], "at least 1 pixel"),
        (["--quality", "0"], "from 1 to 100"),
        (["--tile", "1"], "too small"),
        (["--device", "abacus"], "cannot be used here"),
        (["--workers", "0"], "at least 1"),
        (["--skip-larger-than", "0"], "at least 1"),
        (["--strip", "--keep", "no-gps"], "contradict"),
        (["--no-backup"], "--in-place"),
        (["--suffix", "_a", "--name-pattern", "{name}"], "--suffix and --name-pattern"),
        (["--name-pattern", "large"], "not a pattern"),
        (["--in-place", "-o", tmp_path / "out"], "leave out --output"),
    ]:
        assert message in refuses(lambda options=options: upscale(picture, *options), 2)
    assert "megapixels" in refuses(lambda: upscale(picture, "--scale", "1e6"))
    assert "at least one picture" in refuses(upscale, 2)


def test_bad_networks(network: Path, refuses: Callable[..., str], tmp_path: Path) -> None:
    picture, whole = photo(tmp_path / "photo.jpg"), network.read_bytes()
    truncated, not_a_number, shapes, version, pickled = (
        tmp_path / f"{name}.safetensors" for name in ("truncated", "nan", "shapes", "version", "pickled")
    )
    truncated.write_bytes(whole[: len(whole) // 2])
    tensors = load_file(network)
    save_file(tensors | {"head.bias": np.full_like(tensors["head.bias"], np.nan)}, not_a_number)
    save_file(tensors | {"head.bias": np.zeros(5, np.float32)}, shapes)
    save_file(tensors, version, {"format": "tinysr", "version": "99"})
    torch.save({"params": torch.zeros(3)}, pickled)
    (tmp_path / "model.pth").write_bytes(pickle.dumps({"a": 1}))
    for name, message in [
        ("nobody", "There is no model 'nobody'"),
        (tmp_path / "missing.safetensors", "There is no file"),
        (truncated, "not a valid safetensors file"),
        (not_a_number, "NaN or infinite"),
        (shapes, "not a TinySR network"),
        (version, "format version 99"),
        (pickled, "can run code"),
        (tmp_path / "model.pth", "can run code"),
    ]:
        assert message in refuses(lambda name=name: main(["upscale", str(picture), "--model", str(name)]))


def test_pages_that_cannot_be_written(refuses: Callable[..., str], tmp_path: Path) -> None:
    picture = str(photo(tmp_path / "photo.jpg"))
    assert "There is no file" in refuses(lambda: main(["compare", picture, "missing.jpg", "-o", f"{tmp_path}/p.html"]))
    assert "cannot be written" in refuses(lambda: main(["compare", picture, picture, "-o", f"{picture}/p.html"]))
    assert "is not a picture" in refuses(lambda: main(["info", __file__]))


# the process


def test_the_program_fails_with_one_sentence_and_its_status(network: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    answer = run_program("upscale", tmp_path / "empty.jpg", "--model", network)
    assert (answer.returncode, answer.stdout) == (1, "")
    assert answer.stderr == f"tinysr: {tmp_path / 'empty.jpg'} is empty (0 bytes).\n"
    assert run_program("upscale", "--no-such-option").returncode == 2


def test_output_is_flushed_before_the_process_ends() -> None:
    models, missing = run_program("models", "--json"), run_program("info", "missing.jpg")
    assert models.returncode == 0 and json.loads(models.stdout)
    assert (missing.returncode, missing.stderr) == (1, "tinysr: There is no file missing.jpg.\n")


@pytest.mark.skipif(sys.platform == "win32", reason="needs pipes")
def test_a_reader_that_has_gone_is_no_trouble() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "tinysr_core.cli", "models"]
    answer = subprocess.run(command, cwd=ROOT, stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    assert (answer.returncode, answer.stderr) == (1, b"")


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
@pytest.mark.parametrize("asked", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_ctrl_c_and_its_like_leave_nothing_half_written(network: Path, tmp_path: Path, asked: int) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(6):
        photo(folder / f"{number}.jpg", 1500, 1000)
    command = [sys.executable, "-m", "tinysr_core.cli", "upscale", str(folder), "--model", str(network), "--json"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    # Background jobs of a shell ignore Ctrl-C, and their children inherit that.
    listen = functools.partial(signal.signal, asked, signal.SIG_DFL)
    with subprocess.Popen(command, env=environment, stdout=-1, stderr=-1, text=True, preexec_fn=listen) as program:
        assert program.stdout is not None
        first = json.loads(program.stdout.readline())
        time.sleep(0.2)
        program.send_signal(asked)
        out, err = program.communicate(timeout=60)
    assert program.returncode == 128 + asked
    assert "stopped" in err and "Traceback" not in err
    done = {Path(outcome["output"]).name for outcome in [first, *map(json.loads, out.splitlines())]}
    results = {path.name for path in (tmp_path / "photos_x2").glob("[!.]*")}
    assert 1 <= len(results) < 6
    names = {f"{number}.jpg" for number in range(6)}
    assert done <= results <= names
    for name in results:
        assert read_picture(tmp_path / "photos_x2" / name).width == 3000
    again = run_program("upscale", folder, "--model", network, "--json")
    assert again.returncode == 0
    assert json.loads(again.stdout.splitlines()[-1])["summary"]["skipped"] == len(results)
    assert {path.name for path in (tmp_path / "photos_x2").iterdir()} == {*names, RECORD_NAME}
