import dataclasses
from pathlib import Path

import numpy as np
import pytest

from tinysr_core.engines import RunOptions
from tinysr_core.errors import CheckpointError, RequestError
from tinysr_core.folders import job as batch
from tinysr_core.folders.job import Outcome, Settings, run
from tinysr_core.folders.plan import Job, plan_jobs
from tinysr_core.images import Picture, read_picture, write_picture
from tinysr_core.model.checkpoint import write_checkpoint
from tinysr_core.model.config import ModelConfig
from tinysr_core.postprocess import Finish
from tinysr_core.postprocess.sizes import ExactSize, Factor, LongestSide, Megapixels


def write_network(folder: Path, scale: int) -> Path:
    """A tiny network with a last layer of zeros, so that it is exactly bicubic."""
    config = ModelConfig(scale, channels=16, blocks=2)
    random = np.random.default_rng(scale)
    tensors = {name: (random.standard_normal(shape) * 0.05).astype(np.float32) for name, shape in config.shapes.items()}
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


def work(photos: Path, settings: Settings, **options: object) -> list[Outcome]:
    jobs = plan_jobs([photos], None, settings.mark, recursive=True, **options)
    return list(run(jobs, settings, lambda picture, share: None))


SETTINGS = Settings(model="test")


def test_every_picture_of_the_tree_is_upscaled(photos: Path) -> None:
    outcomes = work(photos, SETTINGS)
    assert [outcome.status for outcome in outcomes] == ["done"] * 3
    assert {(o.input_size, o.output_size, o.model) for o in outcomes} == {((30, 20), (60, 40), "tinysr-test-x2")}
    results = photos.with_name("photos_x2")
    found = {p.relative_to(results).as_posix() for p in results.rglob("*") if p.is_file()}
    assert found == {"a.png", "b.png", "deep/c.png"}
    assert read_picture(results / "deep" / "c.png").pixels.shape == (1, 3, 40, 60)


def test_finished_pictures_are_skipped_unless_they_are_to_be_overwritten(photos: Path) -> None:
    work(photos, SETTINGS)
    results = photos.with_name("photos_x2")
    (results / "b.png").write_bytes(b"mine")
    (results / "a.png").unlink()
    assert [outcome.status for outcome in work(photos, SETTINGS)] == ["skipped", "skipped", "done"]
    assert (results / "b.png").read_bytes() == b"mine"
    again = dataclasses.replace(SETTINGS, overwrite=True)
    assert [outcome.status for outcome in work(photos, again)] == ["done"] * 3
    assert read_picture(results / "b.png").width == 60


def test_one_bad_picture_does_not_stop_the_rest(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (photos / "b.png").write_bytes((photos / "b.png").read_bytes()[:200])
    outcomes = work(photos, SETTINGS)
    assert [outcome.status for outcome in outcomes] == ["done", "failed", "done"]
    assert "b.png is damaged or cut off" in (outcomes[1].error or "")
    assert not (photos.with_name("photos_x2") / "b.png").exists()

    def broken(path: Path) -> Picture:
        raise ZeroDivisionError("nobody thought of it")

    monkeypatch.setattr(batch, "read_picture", broken)
    outcomes = work(photos, dataclasses.replace(SETTINGS, overwrite=True))
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
    work(photos, settings)
    assert len(loaded) == 2  # all finished: no network is needed


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
    (job,) = plan_jobs([photos / "a.png"], None, settings.mark)
    (outcome,) = run([job], settings, lambda picture, share: None)
    assert (outcome.output_size, outcome.model, outcome.error) == (size, model, None)
    assert job.output == photos / f"a_{mark}.png"
    result = read_picture(job.output)
    assert (result.width, result.height) == size


def test_beyond_the_largest_network_fidelity_follows_and_a_note_says_so(photos: Path) -> None:
    outcomes = work(photos, Settings(model="test", finish=Finish(Factor(8))))
    assert {outcome.output_size for outcome in outcomes} == {(240, 160)}
    assert {tuple(outcome.notes) for outcome in outcomes} == {
        ("No network enlarges ×8 at once; it was reached by networks for ×4, then ×2.",)
    }


def test_a_single_checkpoint_sets_the_scale(home: Path, photos: Path) -> None:
    settings = Settings(model=str(write_network(home, 3)))
    (job,) = plan_jobs([photos / "a.png"], None, settings.mark)
    (outcome,) = run([job], settings, lambda picture, share: None)
    assert (job.output.name, outcome.output_size) == ("a_x3.png", (90, 60))


def test_nothing_of_the_picture_is_lost(tmp_path: Path) -> None:
    alpha = np.full((1, 1, 20, 30), 0.5, np.float32)
    whole = write(tmp_path / "whole.png", alpha=alpha, bits=16, dpi=(300.0, 300.0))
    grey = tmp_path / "grey.png"
    write_picture(Picture(np.full((1, 1, 20, 30), 0.25, np.float32)), grey)
    jobs = plan_jobs([whole, grey], tmp_path / "out", SETTINGS.mark)
    assert [outcome.error for outcome in run(jobs, SETTINGS, lambda picture, share: None)] == [None, None]
    first, second = (read_picture(job.output) for job in jobs)
    assert first.alpha is not None and np.allclose(first.alpha, 0.5, atol=1e-4)
    assert first.bits == 16 and first.dpi is not None and np.allclose(first.dpi, 300, atol=0.1)
    assert second.grey and np.allclose(second.pixels, 0.25, atol=0.01)


def test_what_a_format_cannot_hold_is_said(tmp_path: Path) -> None:
    picture = write(tmp_path / "a.png", alpha=np.full((1, 1, 20, 30), 0.5, np.float32))
    jobs = plan_jobs([picture], None, SETTINGS.mark, format="jpeg")
    (outcome,) = run(jobs, SETTINGS, lambda picture, share: None)
    assert outcome.status == "done" and any("transparency" in note for note in outcome.notes)


def test_too_little_memory_is_said_with_both_numbers(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch, "available_bytes", lambda: 10_000)
    outcome = work(photos, SETTINGS)[0]
    assert outcome.status == "failed" and outcome.error is not None
    assert "needs 1,0" in outcome.error and "10,000 are free" in outcome.error
    assert not photos.with_name("photos_x2").exists()
    monkeypatch.setattr(batch, "available_bytes", lambda: None)
    assert work(photos, SETTINGS)[0].status == "done"


def test_what_a_format_cannot_address_is_refused_before_the_work(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tinysr_core.pipeline.enhance", None)
    settings = Settings(model="test", finish=Finish(ExactSize(width=20000, height=100)))
    (job,) = plan_jobs([photos / "a.png"], None, settings.mark, format="webp")
    (outcome,) = run([job], settings, lambda picture, share: None)
    assert "WebP holds at most 16383 pixels a side" in (outcome.error or "")


def test_progress_covers_the_whole_job(photos: Path) -> None:
    told: list[tuple[str, float]] = []
    jobs = plan_jobs([photos], None, SETTINGS.mark, recursive=True)
    list(run(jobs, SETTINGS, lambda picture, share: told.append((picture.name, share))))
    shares = [share for _, share in told]
    assert shares == sorted(shares) and shares[0] == 0 and shares[-1] == 1
    assert list(dict.fromkeys(name for name, _ in told)) == ["a.png", "b.png", "c.png"]


def test_an_interrupted_job_leaves_nothing_half_written_and_goes_on(photos: Path) -> None:
    jobs = plan_jobs([photos], None, SETTINGS.mark, recursive=True)

    def stop(picture: Path, share: float) -> None:
        if picture.name == "b.png":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(run(jobs, SETTINGS, stop))
    results = photos.with_name("photos_x2")
    assert [path.name for path in results.rglob("*")] == ["a.png"]
    outcomes = list(run(jobs, SETTINGS, lambda picture, share: None))
    assert [outcome.status for outcome in outcomes] == ["skipped", "done", "done"]


def test_what_is_wrong_with_the_job_is_said_once(photos: Path) -> None:
    jobs = [Job(photos / "a.png", photos / "out.png", "png")]
    for settings, error in [
        (Settings(model="nobody"), CheckpointError),
        (Settings(model="test", run=RunOptions(device="abacus")), RequestError),
        (Settings(model="test", run=RunOptions(tile=1)), RequestError),
        (Settings(model="test", run=RunOptions(precision="fp16", device="cpu")), RequestError),
    ]:
        with pytest.raises(error):
            list(run(jobs, settings, lambda picture, share: None))
    with pytest.raises(RequestError, match="between 1 and 100"):
        Settings(quality=101)
    assert not (photos / "out.png").exists()
