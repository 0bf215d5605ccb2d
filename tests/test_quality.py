"""The recorded scores and the model cards belong to the shipped weights."""

import csv
import hashlib
import importlib.util
import re
import shutil
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from tinysr_core.engines import RunOptions
from tinysr_core.evaluation.methods import network
from tinysr_core.evaluation.table import evaluate
from tinysr_core.loss.lpips import load_lpips
from tinysr_core.model.checkpoint import read_checkpoint, weights_digest

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "quality.csv"
PHOTOS = ROOT / "benchmarks" / "results" / "photos.csv"
WEIGHTS = ROOT / "weights"
CARDS = sorted(WEIGHTS.glob("*.md"))
RERUN = "run `python benchmarks/model_cards.py`"


def rows(method: str, data: str) -> list[dict[str, str]]:
    with RESULTS.open(encoding="utf-8") as stream:
        return [row for row in csv.DictReader(stream) if (row["method"], row["data"]) == (method, data)]


@pytest.mark.parametrize("method", ["tinysr-portrait-x2", "tinysr-fidelity-x2"])
def test_the_row_of_set5_can_be_measured_again(method: str, shared: Path) -> None:
    recorded = rows(method, "set5")
    assert len(recorded) == 5
    methods = dict([network(str(WEIGHTS / f"{method}.safetensors"), 2, RunOptions(clean=0, precision="fp32"))])
    measured = list(evaluate([shared / "data" / "val" / "set5"], 2, methods, load_lpips("alex", shared / "weights")))
    for metric, tolerance in (("psnr", 0.02), ("ssim", 5e-4), ("lpips", 1e-3)):
        before = np.mean([float(row[metric]) for row in recorded])
        assert np.mean([getattr(row, metric) for row in measured]) == pytest.approx(before, abs=tolerance), metric


@pytest.mark.parametrize("path", sorted(WEIGHTS.glob("*.safetensors")), ids=lambda path: path.stem)
def test_figures_are_those_of_the_shipped_weights(path: Path) -> None:
    digest = weights_digest(read_checkpoint(path).tensors)
    recorded = {row["weights"] for row in rows(path.stem, "portraits_cc0")}
    assert recorded == {digest[:12]}, f"{path.name} has changed since it was measured; {RERUN}"


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_more_clean_brings_degraded_pictures_closer_to_the_original(scale: int) -> None:
    """Blends of networks that were trained apart can be worse than both."""
    slider = ["portrait", *(f"portrait, clean {share}" for share in (0.25, 0.5, 0.75)), "photo"]
    with PHOTOS.open(encoding="utf-8") as stream:
        recorded = [row for row in csv.DictReader(stream) if row["scale"] == str(scale)]
    digest = weights_digest(read_checkpoint(WEIGHTS / f"tinysr-photo-x{scale}.safetensors").tensors)[:12]
    assert {row["weights"] for row in recorded if row["method"] == "photo"} == {digest}
    for data in ("clean", "q75", "phone"):
        means = [
            np.mean([float(row["lpips"]) for row in recorded if (row["data"], row["method"]) == (data, method)])
            for method in slider
        ]
        if data == "clean":
            assert max(means) < 1.04 * max(means[0], means[-1]), means
        else:
            assert means == sorted(means, reverse=True), (data, means)


def test_cards_name_the_shipped_files() -> None:
    named = {
        name: digest
        for card in CARDS
        for name, digest in re.findall(r"\| (\S+\.safetensors) \|.*`(\w{64})`", card.read_text())
    }
    assert named == {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in WEIGHTS.glob("*.safetensors")}


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module benchmarks/model_cards.py."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    monkeypatch.delitem(sys.modules, "photos", raising=False)  # a checkout in a folder of that name
    spec = importlib.util.spec_from_file_location("model_cards", ROOT / "benchmarks" / "model_cards.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_cards_are_written_from_weights_and_rows(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With invented scores, because measuring takes minutes."""
    quality = sys.modules["quality"]
    weights, results = tmp_path / "weights", tmp_path / "results"
    weights.mkdir()
    results.mkdir()
    for scale in (2, 3, 4):
        shutil.copy(WEIGHTS / f"tinysr-portrait-x{scale}.safetensors", weights)
    shutil.copy(WEIGHTS / "tinysr-fidelity-x2.safetensors", weights)
    shutil.copy(RESULTS.with_name("peers.csv"), results)
    monkeypatch.setattr(sys, "argv", ["model_cards.py", "--weights", str(weights), "--results", str(results)])
    monkeypatch.setattr(script, "load_lpips", lambda *_: None)
    before = {path.name: read_checkpoint(path).tensors for path in weights.glob("*.safetensors")}

    def made_up(folder: Path, *_: object) -> list[object]:
        return [
            quality.Measured(data, picture, scale, subject.name, 30.0 + scale, 0.9, 0.1, weights=subject.weights)
            for scale in (2, 3, 4)
            for subject in quality.subjects(folder, scale)
            for data in subject.sets
            for picture in ("a", "b")
        ]

    monkeypatch.setattr(script, "measure", made_up)
    script.main()
    written = {path.name: path.read_bytes() for path in [*weights.iterdir(), results / "quality.md"]}
    script.main()
    assert {path.name: path.read_bytes() for path in [*weights.iterdir(), results / "quality.md"]} == written

    portrait = read_checkpoint(weights / "tinysr-portrait-x2.safetensors")
    assert portrait.card["twin"] == "tinysr-fidelity-x2"
    assert list(portrait.card["detail"]) == ["0", "0.25", "0.5", "0.75", "1"]
    assert portrait.card["figures"]["set14"] == {"psnr": 32.0, "ssim": 0.9, "lpips": 0.1}
    assert "twin" not in read_checkpoint(weights / "tinysr-portrait-x3.safetensors").card
    for name, tensors in before.items():
        assert weights_digest(read_checkpoint(weights / name).tensors) == weights_digest(tensors)
    card = (weights / "portrait.md").read_text()
    digest = hashlib.sha256((weights / "tinysr-portrait-x2.safetensors").read_bytes()).hexdigest()
    assert digest in card and "32.00 / 0.9000 / 0.1000" in card
    page = (results / "quality.md").read_text()
    assert "| EFDN | 261 K | 37.94 / 0.9602 / 0.0571 |" in page
    assert "| portraits_cc0 (2) | tinysr-portrait-x4+sharpen+aa | 34.00 ± 0.00 |" in page
