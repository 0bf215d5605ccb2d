"""The parts of the GIMP plug-in that need no GIMP. `tests/gimp` runs the whole."""

import ast
import gettext
import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tinysr_core.gimp.install import plugin_source, worker_commands
from tinysr_core.gimp.protocol import MAX_SIDE, PROTOCOL
from tinysr_core.model.catalog import DEFAULT_NAME

PLUGIN = plugin_source()
SOURCES = [PLUGIN / "tinysr-gimp.py", *sorted((PLUGIN / "tinysr_gimp").glob("*.py"))]


@pytest.fixture
def geometry(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(PLUGIN))
    return importlib.import_module("tinysr_gimp.geometry")


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(PLUGIN))
    return importlib.import_module("tinysr_gimp.worker_client")


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_the_plugin_needs_the_standard_library_and_gi_only(source: Path) -> None:
    """GIMP's Python has nothing else."""
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [node.module or ""]
        for name in names:
            assert name.split(".")[0] in {*sys.stdlib_module_names, "gi", "tinysr_gimp"}


def test_gimp_can_start_it() -> None:
    main = PLUGIN / "tinysr-gimp.py"
    assert main.stem == PLUGIN.name
    assert main.read_text().startswith("#!/usr/bin/env python3\n")
    assert os.access(main, os.X_OK)
    assert (PLUGIN / "icon.png").exists()


def test_both_ends_speak_the_same(client: Any, geometry: Any) -> None:
    assert client.PROTOCOL == PROTOCOL
    assert geometry.MAX_SIDE == MAX_SIDE
    assert f'DEFAULT_MODEL = "{DEFAULT_NAME}"' in (PLUGIN / "tinysr_gimp" / "procedure.py").read_text()


@pytest.mark.parametrize("language", ["de", "fr", "es", "zh_CN"])
def test_every_text_is_translated(language: str) -> None:
    """The compiled catalogue has each text of the sources, with the same places to fill in."""
    texts = {
        call.args[0].value
        for source in SOURCES
        for call in ast.walk(ast.parse(source.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "_"
        if isinstance(call.args[0], ast.Constant)
    }
    assert len(texts) > 30
    folder = PLUGIN / "locale" / language / "LC_MESSAGES"
    with (folder / "tinysr-gimp.mo").open("rb") as stream:
        catalogue = gettext.GNUTranslations(stream)
    for text in texts:
        translated = catalogue.gettext(text)
        assert translated != text or text in ("Tiny_SR…",), text
        assert translated.count("_") == text.count("_"), text
        assert sorted(part.split("}")[0] for part in translated.split("{")[1:]) == sorted(
            part.split("}")[0] for part in text.split("{")[1:]
        )
        assert translated in (folder / "tinysr-gimp.po").read_text(encoding="utf-8"), "compile the .po file again"


class TestPlan:
    def test_a_layer_alone_becomes_the_image(self, geometry: Any) -> None:
        canvas, layer = geometry.Box(0, 0, 100, 80), geometry.Box(-7, 5, 30, 20)
        plan = geometry.plan("new-image", canvas, [layer], "x3", 0, 0)
        assert plan.frame == geometry.Box(0, 0, 90, 60)
        assert plan.boxes == [plan.frame]
        assert plan.factors.largest == 3

    def test_layers_keep_their_places(self, geometry: Any) -> None:
        layers = [geometry.Box(-4, 20, 12, 16), geometry.Box(5, 6, 20, 10)]
        plan = geometry.plan("new-image", geometry.Box(0, 0, 40, 30), layers, "x3", 0, 0)
        assert plan.frame == geometry.Box(0, 0, 87, 90)
        assert plan.boxes == [geometry.Box(0, 42, 36, 48), geometry.Box(27, 0, 60, 30)]

    def test_a_scaled_image_is_measured_by_its_canvas(self, geometry: Any) -> None:
        canvas, layer = geometry.Box(0, 0, 100, 50), geometry.Box(10, 10, 20, 20)
        plan = geometry.plan("scale-image", canvas, [layer], "size", 250, 0)
        assert plan.frame == geometry.Box(0, 0, 250, 125)
        assert plan.boxes == [geometry.Box(25, 25, 50, 50)]

    def test_both_sides_given_stretch(self, geometry: Any) -> None:
        layer = geometry.Box(0, 0, 20, 10)
        plan = geometry.plan("new-image", layer, [layer], "size", 30, 40)
        assert (plan.frame.width, plan.frame.height, plan.factors.largest) == (30, 40, 4)

    def test_a_new_layer_grows_about_its_centre(self, geometry: Any) -> None:
        canvas, layer = geometry.Box(0, 0, 50, 50), geometry.Box(10, 20, 20, 10)
        plan = geometry.plan("new-layer", canvas, [layer], "x3", 0, 0)
        assert plan.frame == canvas
        assert plan.boxes == [geometry.Box(-10, 10, 60, 30)]

    def test_a_layer_of_the_same_size_keeps_its_place(self, geometry: Any) -> None:
        layer = geometry.Box(3, 4, 20, 10)
        plan = geometry.plan("same-size-layer", geometry.Box(0, 0, 50, 50), [layer], "x4", 0, 0)
        assert plan.boxes == [layer]
        assert plan.factors.largest == 4

    def test_nothing_becomes_thinner_than_a_pixel(self, geometry: Any) -> None:
        layer = geometry.Box(0, 0, 1000, 1)
        plan = geometry.plan("new-image", layer, [layer], "size", 10, 0)
        assert (plan.frame.width, plan.frame.height, plan.longest_side) == (10, 1, 10)


class TestWorkerCommand:
    def test_the_environment_comes_first(self, client: Any, tmp_path: Path) -> None:
        (tmp_path / "runtime.json").write_text('{"command": ["/no/python"]}')
        command = client.worker_command(tmp_path, {"TINYSR_PYTHON": sys.executable})
        assert command == [sys.executable, "-I", "-m", "tinysr_core.gimp.server"]

    def test_then_what_the_installer_recorded(self, client: Any, tmp_path: Path) -> None:
        (tmp_path / "runtime.json").write_text(json.dumps({"command": [sys.executable, "-I", "-c", "pass"]}))
        assert client.worker_command(tmp_path, {}) == [sys.executable, "-I", "-c", "pass"]

    @pytest.mark.parametrize("runtime", [None, "{", "[]", '{"command": 3}', '{"command": ["/no/python"]}'])
    def test_else_the_user_is_told_what_to_run(self, client: Any, tmp_path: Path, runtime: str | None) -> None:
        if runtime is not None:
            (tmp_path / "runtime.json").write_text(runtime)
        with pytest.raises(client.WorkerError, match="tinysr gimp install"):
            client.worker_command(tmp_path, {})


class TestWorker:
    def test_it_enlarges_with_the_real_worker(self, client: Any, tmp_path: Path) -> None:
        request = {"type": "resize", "width": 2, "height": 1, "channels": 1, "result_width": 4, "result_height": 2}
        with client.Worker(worker_commands(sys.executable)[1], tmp_path / "new" / "log") as worker:
            assert worker.hello().location
            result = worker.compute(request, [bytes(4), bytes(4)], lambda share: None)
            assert result.pixels == bytes(32)
            assert not result.clipped
            with pytest.raises(client.WorkerError, match="do not understand each other"):
                worker.compute(request | {"width": 0}, [], lambda share: None)

    def test_leaving_it_ends_the_process(self, client: Any, tmp_path: Path) -> None:
        with client.Worker([sys.executable, "-c", "import time; time.sleep(60)"], tmp_path / "log") as worker:
            process = worker._process
        assert process.returncode is not None

    def test_a_worker_that_says_nothing_is_not_waited_for_for_ever(
        self, client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(client, "HELLO_SECONDS", 0.5)
        with (
            client.Worker([sys.executable, "-c", "import time; time.sleep(60)"], tmp_path / "log") as worker,
            pytest.raises(client.WorkerError, match="does not answer"),
        ):
            worker.hello()

    def test_what_it_prints_lands_in_the_log_that_the_error_names(self, client: Any, tmp_path: Path) -> None:
        log = tmp_path / "log"
        program = "import sys; sys.exit('no torch today')"
        with (
            client.Worker([sys.executable, "-c", program], log) as worker,
            pytest.raises(client.WorkerError, match=r"status 1.*log"),
        ):
            worker.hello()
        assert "no torch today" in log.read_text()

    def test_gimps_python_variables_do_not_reach_it(
        self, client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in client.FOREIGN_VARIABLES:
            monkeypatch.setenv(name, "/nowhere")
        program = "import os; print([v for v in os.environ.values() if v == '/nowhere'], file=open('seen', 'w'))"
        monkeypatch.chdir(tmp_path)
        with client.Worker([sys.executable, "-c", program], tmp_path / "log") as worker:
            worker._process.wait(20)
        assert (tmp_path / "seen").read_text() == "[]\n"
