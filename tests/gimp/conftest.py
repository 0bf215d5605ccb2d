"""Runs batch scripts in a real GIMP 3, headless, with the plug-in installed as a user would install it."""

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinysr_core.engines import load_upscaler
from tinysr_core.gimp.install import Profile, install_plugin
from tinysr_core.model.checkpoint import write_checkpoint
from tinysr_core.model.config import ModelConfig
from tinysr_core.pipeline import enhance, enhance_mask
from tinysr_core.postprocess import ExactSize, Finish
from tinysr_core.postprocess.resize import resize

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
ROOT = Path(os.environ.get("GIMP3_ROOT", Path(tempfile.gettempdir()) / "gimp3" / "root"))
READY = os.name == "posix" and os.geteuid() == 0 and (ROOT / "usr/bin/gimp-console-3").exists()


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if not READY:
        terminalreporter.section("GIMP", sep="!", red=True)
        terminalreporter.line(
            f"The tests that drive a real GIMP were SKIPPED: there is no GIMP 3 in {ROOT}, or you are not root. "
            "docs/gimp.md says how to make a folder with GIMP 3; GIMP3_ROOT names it."
        )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "gimp" in getattr(item, "fixturenames", ()):  # a test that drives the real program
            item.add_marker(pytest.mark.gimp)
            if not READY:
                item.add_marker(pytest.mark.skip(reason=f"no real GIMP 3 in {ROOT}"))


@dataclass(frozen=True)
class Case:
    """A picture before and after the plug-in, as a batch script saved it."""

    record: dict[str, Any]
    source: np.ndarray
    """[H,W,C], in the values of the drawable's own format."""
    result: np.ndarray


@dataclass(frozen=True)
class Gimp:
    """A GIMP with the plug-in in `plugin`, and models in `models`."""

    plugin: Path
    models: Path
    folder: Path
    """Where scripts write."""

    root: Path = ROOT

    def start(self, script: Path) -> subprocess.Popen[str]:
        """Start a script; every run has a GIMP profile of its own."""
        # the same sums in the same order as here, so that floats can be compared exactly
        blas = {name: value for name, value in os.environ.items() if name.startswith("OPENBLAS_")}
        variables = [f"{name}={value}" for name, value in (blas | {"OMP_NUM_THREADS": "1"}).items()]
        command = [sys.executable, REPOSITORY / "tools" / "run_gimp.py", "--root", self.root, "--plugin", self.plugin]
        command += ["--folder", self.folder, "--models", self.models]
        command += [part for variable in variables for part in ("--env", variable)]
        command += [script, self.folder]
        return subprocess.Popen(
            [str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def run(self, script: str) -> str:
        """Run `batch/script`, which fails by an exception. Returns what it printed."""
        return self._finish(self.start(HERE / "batch" / script))

    def run_gui(self, script: str) -> str:
        """Run the steps of `gui/script` on a virtual display. Returns what they printed."""
        return self._finish(self.start(HERE / "gui" / script))

    @staticmethod
    def _finish(process: subprocess.Popen[str]) -> str:
        output, _ = process.communicate()
        assert process.returncode == 0, output
        return output

    def run_cases(self, script: str) -> list[Case]:
        """Run a script that saves pictures; returns them in order."""
        self.run(script)
        return self.read_cases()

    def read_cases(self) -> list[Case]:
        """The pictures that lie in `folder`."""
        records = [json.loads(line) for line in (self.folder / "cases.jsonl").read_text().splitlines()]
        return [Case(record, *(self._array(record[name]) for name in ("source", "result"))) for record in records]

    def check(self, case: Case) -> None:
        """A result must be what the core makes of its source: exactly for float, within a level for integers."""
        source, result, options = case.record["source"], case.record["result"], case.record["options"]
        size = result["height"], result["width"]
        values = _decoded(case.source, source)
        upscaler = load_upscaler(
            self.models / f"tinysr-{options['model']}-{options.get('scale', 'x2')}.safetensors",
            detail=options.get("detail", 1.0),
        )
        if source["mask"]:
            planes = enhance_mask(upscaler, _planes(values), size)
        else:
            colours = values.shape[2] - source["alpha"]
            pixels, alpha = enhance(
                upscaler,
                _planes(values[:, :, :colours]),
                _planes(values[:, :, colours:]) if source["alpha"] else None,
                Finish(
                    None if size == values.shape[:2] else ExactSize(width=size[1], height=size[0]),
                    sharpen=options.get("sharpen", False),
                    anti_alias=options.get("anti-alias", False),
                ),
            )
            planes = pixels if alpha is None else np.concatenate([pixels, alpha], 1)
            planes = resize(planes, *size).clip(0, 1)
        expected = planes[0].transpose(1, 2, 0)
        found = _decoded(case.result, result)
        kind = result["format"].split()[-1]
        converted = "'" not in result["format"]  # by babl, whose last bit the network enlarges
        step = {"u8": 1 / 255, "u16": 1 / 65535, "half": 2**-11}.get(kind, 2e-6 if converted or kind == "u32" else 0)
        if result["format"].startswith(("RGB", "Y ", "YA ")) and not source["mask"] and kind in ("u8", "u16", "half"):
            # its levels are steps of linear values
            expected, found = _linear(expected), _linear(found)
        np.testing.assert_allclose(found, expected, rtol=0, atol=step, err_msg=str(case.record))

    def _array(self, saved: dict[str, Any]) -> np.ndarray:
        kind = saved["format"].split()[-1].split("-")[0]
        dtype = {"half": "f2", "float": "f4", "double": "f8"}.get(kind) or f"u{int(kind[1:]) // 8}"
        data = np.fromfile(self.folder / saved["file"], dtype)
        return data.reshape(saved["height"], saved["width"], -1)


def _decoded(values: np.ndarray, picture: dict[str, Any]) -> np.ndarray:
    """Non-linear values of the image's own space, and alpha, all float32 in [0,1]."""
    top = np.iinfo(values.dtype).max if values.dtype.kind == "u" else 1
    plain = values.astype(np.float64) / top
    if not (picture["mask"] or "'" in picture["format"] or "~" in picture["format"]):
        colours = plain.shape[2] - picture["alpha"]
        low = plain[:, :, :colours]
        curve = np.where(low <= 0.0031308, low * 12.92, 1.055 * np.maximum(low, 1e-9) ** (1 / 2.4) - 0.055)
        plain = np.concatenate([curve, plain[:, :, colours:]], 2)
    return plain.astype(np.float32)


def _linear(values: np.ndarray) -> np.ndarray:
    """sRGB's curve undone."""
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def _planes(picture: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(picture.transpose(2, 0, 1)[None], np.float32)


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Networks with random weights: `portrait` and its twin `calm`, small; and one that takes its time.

    The weights are so large that `auto` stays at fp32: int8 would turn a last bit that differs after babl's conversion
    into a step of the integers.
    """
    folder = tmp_path_factory.mktemp("models")
    random = np.random.default_rng(0)
    for scale in (2, 3, 4):
        small = ModelConfig(scale, 16, 2)
        configs = {"portrait": small, "calm": small, "slow": ModelConfig(scale, 64, 60)}
        for name, config in configs.items():
            tensors = {k: random.standard_normal(v, np.float32) / 10 for k, v in config.shapes.items()}
            card = {"title": name} | ({"twin": f"tinysr-calm-x{scale}"} if name == "portrait" else {})
            write_checkpoint(folder / f"tinysr-{name}-x{scale}.safetensors", config, tensors, card)
    return folder


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The plug-in, installed into an empty profile."""
    (report,) = install_plugin([Profile(tmp_path_factory.mktemp("profile"))])
    assert report.problem is None
    return report.profile.plugin


@pytest.fixture
def gimp(installed: Path, models: Path, tmp_path: Path) -> Gimp:
    return Gimp(installed, models, tmp_path)
