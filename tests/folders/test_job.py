import dataclasses
import errno
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tinysr_core.engines import RunOptions
from tinysr_core.errors import CheckpointError, PictureError, RequestError, TinySRError
from tinysr_core.folders import (
    FileUpscaler,
    Outcome,
    Plan,
    Settings,
    file_upscaler,
    plan_jobs,
    preview,
    run_job,
    seconds_per_pixel,
)
from tinysr_core.folders.records import RECORD_NAME
from tinysr_core.images import Picture, read_picture, write_picture
from tinysr_core.model.checkpoint import read_checkpoint, write_checkpoint
from tinysr_core.model.config import ModelConfig
from tinysr_core.postprocess import Finish
from tinysr_core.postprocess.sizes import ExactSize, Factor, LongestSide, Megapixels


def write_network(folder: Path, scale: int, weights: float = 0.05) -> Path:
    """A tiny network with a last layer of zeros, so that it is exactly bicubic."""
    config = ModelConfig(scale, channels=16, blocks=2)
    random = np.random.default_rng(scale)
    tensors = {
        name: (random.standard_normal(shape) * weights).astype(np.float32) for name, shape in config.shapes.items()
    }
    path = folder / f"tinysr-test-x{scale}.safetensors"
    tensors |= {name: np.zeros(shape, np.float32) for name, shape in config.shapes.items() if name.startswith("tail.")}
    write_checkpoint(path, config, tensors, {})
    return path


def write(path: Path, height: int = 20, width: int = 30, **extras: object) -> Path:
    ramp = np.linspace(0.2, 0.8, height * width, dtype=np.float32).reshape(1, 1, height, width)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_picture(dataclasses.replace(Picture(np.concatenate([ramp] * 3, 1)), **extras), path)
    return path


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home whose model `test` has scales 2 and 4."""
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    folder = tmp_path / ".tinysr" / "models"
    folder.mkdir(parents=True)
    write_network(folder, 2)
    write_network(folder, 4)
    return tmp_path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for name in ("a.png", "b.png", "deep/c.png"):
        write(tmp_path / "photos" / name)
    return tmp_path / "photos"


def work(photos: Path, settings: Settings, **options: Any) -> list[Outcome]:
    plan = plan_jobs([photos], None, settings, recursive=True, **options)
    return sorted(run_job(plan, settings), key=lambda outcome: outcome.input)


SETTINGS = Settings(model="test")


def test_every_picture_of_the_tree_is_upscaled(photos: Path) -> None:
    outcomes = work(photos, SETTINGS)
    assert [outcome.status for outcome in outcomes] == ["done"] * 3
    assert {(o.input_size, o.output_size, o.model) for o in outcomes} == {((30, 20), (60, 40), "tinysr-test-x2")}
    results = photos.with_name("photos_x2")
    found = {p.relative_to(results).as_posix() for p in results.rglob("*") if p.is_file() and p.name != RECORD_NAME}
    assert found == {"a.png", "b.png", "deep/c.png"}
    assert read_picture(results / "deep" / "c.png").pixels.shape == (1, 3, 40, 60)


def test_finished_pictures_are_skipped_and_foreign_files_kept_unless_they_are_to_be_overwritten(photos: Path) -> None:
    work(photos, SETTINGS)
    results = photos.with_name("photos_x2")
    (results / "b.png").write_bytes(b"mine")
    (results / "a.png").unlink()
    outcomes = work(photos, SETTINGS)
    assert [(outcome.status, outcome.skipped) for outcome in outcomes] == [
        ("done", None),
        ("skipped", "kept"),
        ("skipped", "finished"),
    ]
    assert (results / "b.png").read_bytes() == b"mine"
    assert [outcome.status for outcome in work(photos, SETTINGS, overwrite=True)] == ["done"] * 3
    assert read_picture(results / "b.png").width == 60


def test_finished_means_finished_with_these_settings_and_this_source(home: Path, photos: Path) -> None:
    def statuses(settings: Settings) -> list[str]:
        plan = plan_jobs([photos], home / "out", settings, recursive=True)
        return [outcome.status for outcome in sorted(run_job(plan, settings), key=lambda outcome: outcome.input)]

    assert statuses(SETTINGS) == ["done"] * 3
    assert statuses(SETTINGS) == ["skipped"] * 3
    assert statuses(dataclasses.replace(SETTINGS, network=RunOptions(tile=64, engine="torch"))) == ["skipped"] * 3
    larger = dataclasses.replace(SETTINGS, finish=Finish(Factor(4)))
    assert statuses(larger) == ["done"] * 3 and read_picture(home / "out" / "a.png").width == 120
    write_network(home / ".tinysr" / "models", 4, weights=0.01)  # retrained, with the same name
    assert statuses(larger) == ["done"] * 3
    write(photos / "b.png", 24, 30)
    assert statuses(larger) == ["skipped", "done", "skipped"]
    shutil.copytree(home / "out", home / "elsewhere")
    shutil.copytree(photos, home / "copied photos")
    plan = plan_jobs([home / "copied photos"], home / "elsewhere", larger, recursive=True)
    assert [outcome.skipped for outcome in plan.settled] == ["finished"] * 3


def test_a_relative_that_was_trained_again_makes_another_fingerprint(home: Path) -> None:
    models = home / ".tinysr" / "models"
    model = read_checkpoint(write_network(models, 2))
    write_checkpoint(model.path, model.config, model.tensors, {"photo": "tinysr-other-x2"})
    settings = {clean: Settings("test", RunOptions(clean=clean)) for clean in ("auto", 0.0)}
    before = {clean: setting.fingerprint for clean, setting in settings.items()}
    write_checkpoint(models / "tinysr-other-x2.safetensors", model.config, model.tensors, {})
    assert settings["auto"].fingerprint != before["auto"]
    assert settings[0.0].fingerprint == before[0.0]


def test_the_result_of_another_picture_is_kept(home: Path, photos: Path) -> None:
    write(home / "others" / "a.png", 30, 20)
    for folder, expected in [(photos, ["done"] * 3), (home / "others", ["skipped"])]:
        plan = plan_jobs([folder], home / "out", SETTINGS, recursive=True)
        assert [outcome.status for outcome in run_job(plan, SETTINGS)] == expected
    assert read_picture(home / "out" / "a.png").width == 60


def test_a_damaged_record_costs_no_picture(photos: Path) -> None:
    work(photos, SETTINGS)
    record = photos.with_name("photos_x2") / RECORD_NAME
    record.write_bytes(b"\xff\n{}\n[]\n" + record.read_bytes()[:-30])
    assert [outcome.skipped for outcome in work(photos, SETTINGS)] == ["finished", "kept", "finished"]


def test_the_same_command_can_be_run_again_with_a_pattern_that_matches_its_results(photos: Path) -> None:
    for status, repeated in [("done", 0), ("skipped", 2)]:
        inputs = sorted(photos.glob("*.png"))
        plan = plan_jobs([*inputs, photos / "." / "a.png"], None, SETTINGS)
        assert plan.repeated == repeated + 1
        assert [outcome.status for outcome in run_job(plan, SETTINGS)] == [status] * 2
    inputs = sorted(photos.glob("*.png"))
    larger = dataclasses.replace(SETTINGS, finish=Finish(Factor(4)))
    assert {job.output.name for job in plan_jobs(inputs, None, larger).jobs} == {"a_x4.png", "b_x4.png"}
    (photos / "a_x2.png").write_bytes((photos / "b.png").read_bytes())  # has the name of a result
    plan = plan_jobs(sorted(photos.glob("*.png")), None, SETTINGS)
    assert [job.input.name for job in plan.jobs] == ["a_x2.png"]
    assert ["would replace" in (outcome.error or "") for outcome in plan.settled] == [True, False]


def test_in_place_keeps_the_original_and_runs_once(photos: Path) -> None:
    (photos / "moving.gif").write_bytes(b"GIF89a")
    original = (photos / "a.png").read_bytes()
    outcomes = work(photos, SETTINGS, in_place=True)
    assert [outcome.status for outcome in outcomes] == ["done", "done", "done", "failed"]
    assert (photos / "a.png.orig").read_bytes() == original and read_picture(photos / "a.png").width == 60
    outcomes = work(photos, SETTINGS, in_place=True)
    assert sorted(outcome.skipped or "" for outcome in outcomes) == ["", "finished", "finished", "finished"]
    larger = dataclasses.replace(SETTINGS, finish=Finish(Factor(4)))
    work(photos, larger, in_place=True)
    assert read_picture(photos / "a.png").width == 120, "from the original, not from the result"
    assert (photos / "a.png.orig").read_bytes() == original


def test_in_place_without_backup_runs_once_too(photos: Path) -> None:
    assert [outcome.status for outcome in work(photos, SETTINGS, in_place=True, keep_backup=False)] == ["done"] * 3
    assert not list(photos.rglob("*.orig"))
    assert [outcome.skipped for outcome in work(photos, SETTINGS, in_place=True, keep_backup=False)] == ["finished"] * 3
    assert read_picture(photos / "a.png").width == 60


def test_in_place_takes_nothing_away_when_writing_fails(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    before = (photos / "a.png").read_bytes()
    monkeypatch.setattr(file_upscaler, "write_picture", full)
    with pytest.raises(TinySRError, match="disk is full"):
        work(photos, SETTINGS, in_place=True)
    assert (photos / "a.png").read_bytes() == before and not list(photos.rglob("*.orig"))


def test_a_full_disk_ends_the_job_after_a_few_pictures(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(9):
        write(photos / f"{number}.png")

    def full(*arguments: object, **options: object) -> None:
        raise PictureError("cannot be written") from OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(file_upscaler, "write_picture", full)
    outcomes: list[Outcome] = []
    plan = plan_jobs([photos], None, SETTINGS)
    with pytest.raises(TinySRError, match="disk is full"):
        for outcome in run_job(plan, SETTINGS):
            outcomes.append(outcome)
    assert [outcome.cause for outcome in outcomes] == ["disk"] * 3


def test_names_and_folders_that_the_system_refuses_fail_alone(
    home: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(photos / f"{'n' * 251}.png")
    scandir = os.scandir

    def guarded(path: Path) -> object:
        if Path(path).name == "deep":  # root ignores file modes
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    inputs = [photos, photos / f"{'n' * 251}.png", photos / f"{'m' * 300}.png"]
    plan = plan_jobs(inputs, home / "out", SETTINGS, recursive=True)
    outcomes = {outcome.input.name: outcome for outcome in run_job(plan, SETTINGS)}
    assert outcomes["a.png"].status == outcomes["b.png"].status == outcomes[f"{'n' * 251}.png"].status == "done"
    assert "cannot be listed: Permission denied" in (outcomes["deep"].error or "")
    assert "too long" in (outcomes[f"{'m' * 300}.png"].error or "")
    plan = plan_jobs([photos / f"{'n' * 251}.png"], None, SETTINGS)
    assert "too long" in (plan.settled[0].error or "") and not plan.jobs


def test_one_bad_picture_does_not_stop_the_rest(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (photos / "b.png").write_bytes((photos / "b.png").read_bytes()[:60])
    outcomes = work(photos, SETTINGS)
    assert [outcome.status for outcome in outcomes] == ["done", "failed", "done"]
    assert "b.png is damaged" in (outcomes[1].error or "")
    assert not (photos.with_name("photos_x2") / "b.png").exists()

    def broken(path: Path, **options: object) -> Picture:
        raise ZeroDivisionError("nobody thought of it")

    monkeypatch.setattr(file_upscaler, "read_picture", broken)
    outcomes = work(photos, SETTINGS, overwrite=True)
    assert [outcome.status for outcome in outcomes] == ["failed"] * 3
    assert "ZeroDivisionError: nobody thought of it" in (outcomes[0].error or "")


def test_each_network_is_loaded_once_and_only_when_needed(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []

    original = RunOptions.load

    def load(options: RunOptions, path: Path) -> object:
        loaded.append(path.stem)
        return original(options, path)

    monkeypatch.setattr(RunOptions, "load", load)
    write(photos / "small.png", 10, 15)
    write(photos / "tiny.png", 11, 16)
    settings = Settings(model="test", finish=Finish(LongestSide(60)))
    models = {outcome.input.name: outcome.model for outcome in work(photos, settings)}
    assert loaded == ["tinysr-test-x2", "tinysr-test-x4"]
    assert models["a.png"] == "tinysr-test-x2"
    assert models["small.png"] == models["tiny.png"] == "tinysr-test-x4"


@pytest.mark.parametrize(
    ("target", "size", "model", "mark"),
    [
        (None, (60, 40), "tinysr-test-x2", "x2"),
        (Factor(1.5), (45, 30), "tinysr-test-x2", "x1.5"),
        (Factor(3.7), (111, 74), "tinysr-test-x4", "x3.7"),
        (Factor(6), (180, 120), "tinysr-test-x4", "x6"),
        (ExactSize(width=70, height=30), (70, 30), "tinysr-test-x4", "70x30"),
        (LongestSide(48), (48, 32), "tinysr-test-x2", "48px"),
        (Megapixels(0.0054), (90, 60), "tinysr-test-x4", "0.0054mp"),
    ],
)
def test_any_size_from_the_nearest_sufficient_network(
    photos: Path, target: object, size: tuple[int, int], model: str, mark: str
) -> None:
    settings = Settings(model="test", finish=Finish(target))
    plan = plan_jobs([photos / "a.png"], None, settings)
    (job,) = plan.jobs
    (outcome,) = run_job(plan, settings)
    assert (outcome.output_size, outcome.model, outcome.error) == (size, model, None)
    assert job.output == photos / f"a_{mark}.png"
    result = read_picture(job.output)
    assert (result.width, result.height) == size


def test_beyond_the_largest_network_fidelity_follows_and_a_note_says_so(photos: Path) -> None:
    outcomes = work(photos, Settings(model="test", finish=Finish(Factor(8))))
    assert {outcome.output_size for outcome in outcomes} == {(240, 160)}
    assert {tuple(outcome.notes) for outcome in outcomes} == {("×8 is reached by networks for ×4, then ×2.",)}


def test_a_cleaned_picture_keeps_the_size_where_only_a_smaller_scale_can_clean(home: Path, photos: Path) -> None:
    models = home / ".tinysr" / "models"
    small = read_checkpoint(write_network(models, 4))
    write_checkpoint(small.path, small.config, small.tensors, {"photo": "tinysr-other-x4"})
    write_checkpoint(models / "tinysr-other-x4.safetensors", small.config, small.tensors, {})
    large = write_network(models, 8)
    noise = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    Image.fromarray(noise).save(photos / "a.jpg", quality=20)
    for settings in (
        Settings("test", finish=Finish(Factor(8))),
        Settings("test", RunOptions(clean=1), Finish(Factor(8))),
        Settings(str(large)),
    ):
        plan = plan_jobs([photos / "a.jpg"], home / "out", settings, overwrite=True)
        (outcome,) = run_job(plan, settings)
        assert (outcome.error, outcome.output_size, outcome.clean) == (None, (240, 160), 1)
        assert "×8 is reached by networks for ×4, then ×2." in outcome.notes


def test_a_single_checkpoint_sets_the_scale(home: Path, photos: Path) -> None:
    settings = Settings(model=str(write_network(home, 3)))
    plan = plan_jobs([photos / "a.png"], None, settings)
    (job,) = plan.jobs
    (outcome,) = run_job(plan, settings)
    assert (job.output.name, outcome.output_size) == ("a_x3.png", (90, 60))


def test_nothing_of_the_picture_is_lost(tmp_path: Path) -> None:
    alpha = np.full((1, 1, 20, 30), 0.5, np.float32)
    whole = write(tmp_path / "whole.png", alpha=alpha, bits=16, dpi=(300.0, 300.0))
    grey = tmp_path / "grey.png"
    write_picture(Picture(np.full((1, 1, 20, 30), 0.25, np.float32)), grey)
    plan = plan_jobs([whole, grey], tmp_path / "out", SETTINGS)
    assert [outcome.error for outcome in run_job(plan, SETTINGS)] == [None, None]
    first, second = (read_picture(job.output) for job in plan.jobs)
    assert first.alpha is not None and np.allclose(first.alpha, 0.5, atol=1e-4)
    assert first.bits == 16 and first.dpi is not None and np.allclose(first.dpi, 300, atol=0.1)
    assert second.grey and np.allclose(second.pixels, 0.25, atol=0.01)


def test_what_a_format_cannot_hold_is_noted(tmp_path: Path) -> None:
    picture = write(tmp_path / "a.png", alpha=np.full((1, 1, 20, 30), 0.5, np.float32))
    plan = plan_jobs([picture], None, SETTINGS, format="jpeg")
    (outcome,) = run_job(plan, SETTINGS)
    assert outcome.status == "done" and any("transparency" in note for note in outcome.notes)


def test_pictures_that_are_too_large_are_skipped(photos: Path) -> None:
    write(photos / "large.png", 20, 50)
    settings = dataclasses.replace(SETTINGS, largest=40)
    outcomes = {outcome.input.name: outcome for outcome in work(photos, settings)}
    assert (outcomes["large.png"].skipped, outcomes["large.png"].input_size) == ("larger", (50, 20))
    assert outcomes["a.png"].status == "done"
    with pytest.raises(RequestError, match="at least 1"):
        Settings(largest=0)


def test_the_time_of_a_picture_is_kept_where_asked_for(photos: Path) -> None:
    os.utime(photos / "a.png", ns=(10**18, 10**18))
    settings = dataclasses.replace(SETTINGS, keep_mtime=True)
    for expected in ("done", "skipped"):
        assert [outcome.status for outcome in work(photos, settings)] == [expected] * 3
    assert (photos.with_name("photos_x2") / "a.png").stat().st_mtime_ns == 10**18


def test_metadata_is_kept_as_far_as_asked_for(home: Path, photos: Path) -> None:
    exif = Image.Exif()
    exif[0x010F] = "A camera"
    picture = home / "a.jpg"
    Image.new("RGB", (30, 20)).save(picture, exif=exif.tobytes())
    for keep, there in (("all", True), ("none", False)):
        settings = dataclasses.replace(SETTINGS, keep=keep)
        plan = plan_jobs([picture], home / f"{keep}.jpg", settings)
        assert [outcome.status for outcome in run_job(plan, settings)] == ["done"]
        assert (b"A camera" in (home / f"{keep}.jpg").read_bytes()) is there


def test_a_preview_equals_the_outcome(photos: Path) -> None:
    (photos / "broken.png").write_bytes(b"no picture")
    settings = dataclasses.replace(SETTINGS, finish=Finish(LongestSide(120)), largest=100)
    write(photos / "large.png", 20, 101)
    plan = plan_jobs([photos], None, settings, recursive=True)
    previews = {job.input.name: preview(job, settings) for job in plan.jobs}
    assert (previews["a.png"].status, previews["a.png"].output_size) == ("planned", (120, 80))
    assert previews["large.png"].skipped == "larger" and "not a picture" in (previews["broken.png"].error or "")
    for outcome in run_job(plan, settings):
        promised = previews[outcome.input.name]
        assert (outcome.input_size, outcome.skipped) == (promised.input_size, promised.skipped)
        assert outcome.output_size == (None if promised.skipped else promised.output_size)
    assert 0 < seconds_per_pixel(FileUpscaler(SETTINGS), SETTINGS) < 1


def test_an_exception_of_progress_cancels(photos: Path) -> None:
    def cancel(picture: Path, share: float) -> None:
        if share > 0:
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        list(run_job(plan_jobs([photos], None, SETTINGS), SETTINGS, cancel))
    assert not list(photos.parent.glob("photos_x2/*.png"))


def test_too_little_memory_is_an_error_with_both_numbers(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_upscaler, "available_bytes", lambda: 10_000)
    outcome = work(photos, SETTINGS)[0]
    assert outcome.status == "failed" and outcome.error is not None
    assert "needs 1,5" in outcome.error and "10,000 are free" in outcome.error
    assert not photos.with_name("photos_x2").exists()
    monkeypatch.setattr(file_upscaler, "available_bytes", lambda: None)
    assert work(photos, SETTINGS)[0].status == "done"


def test_a_result_too_large_for_its_format_is_refused(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tinysr_core.pipeline.enhance", None)
    settings = Settings(model="test", finish=Finish(ExactSize(width=20000, height=100)))
    plan = plan_jobs([photos / "a.png"], None, settings, format="webp")
    (outcome,) = run_job(plan, settings)
    assert "WebP holds at most 16383" in (outcome.error or "")


def test_progress_covers_the_whole_job(photos: Path) -> None:
    told: list[tuple[str, float]] = []
    plan = plan_jobs([photos], None, SETTINGS, recursive=True)
    list(run_job(plan, SETTINGS, lambda picture, share: told.append((picture.name, share))))
    shares = [share for _, share in told]
    assert shares == sorted(shares) and shares[0] == 0 and shares[-1] == 1
    assert list(dict.fromkeys(name for name, _ in told)) == ["a.png", "b.png", "c.png"]


def test_an_interrupted_job_leaves_nothing_half_written_and_resumes(photos: Path) -> None:
    plan = plan_jobs([photos], None, SETTINGS, recursive=True)

    def stop(picture: Path, share: float) -> None:
        if picture.name == "b.png":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(run_job(plan, SETTINGS, stop))
    results = photos.with_name("photos_x2")
    assert {path.name for path in results.rglob("*")} == {"a.png", RECORD_NAME}
    assert [outcome.status for outcome in work(photos, SETTINGS)] == ["skipped", "done", "done"]


def test_an_error_of_the_job_is_raised_once(photos: Path) -> None:
    finished = plan_jobs([photos], None, SETTINGS)
    list(run_job(finished, SETTINGS))
    for settings, error in [
        (Settings(model="test", network=RunOptions(device="abacus")), RequestError),
        (Settings(model="test", network=RunOptions(tile=1)), RequestError),
        (Settings(model="test", network=RunOptions(precision="fp16", device="cpu")), RequestError),
    ]:
        for plan in (finished, Plan((), finished.settled, 0, {})):
            with pytest.raises(error):
                list(run_job(plan, settings))
    with pytest.raises(CheckpointError):
        plan_jobs([photos], None, Settings(model="nobody"))
    with pytest.raises(RequestError, match="from 1 to 100"):
        Settings(quality=101)
