"""The parts of the GIMP plug-in that need no GIMP. `tests/gimp` runs the whole."""

import ast
import gettext
import importlib
import json
import os
import sys
import types
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
    """The module, with a stand-in for the one function of gi that it needs."""
    glib = types.SimpleNamespace(dgettext=lambda _domain, text: text)
    monkeypatch.setitem(sys.modules, "gi.repository", types.SimpleNamespace(GLib=glib))
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
    assert f'DEFAULT_MODEL = "{DEFAULT_NAME}"' in (PLUGIN / "tinysr_gimp" / "options.py").read_text()


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
        assert translated != text, text
        assert translated.count("_") == text.count("_"), text
        assert sorted(part.split("}")[0] for part in translated.split("{")[1:]) == sorted(
            part.split("}")[0] for part in text.split("{")[1:]
        )
        assert translated in (folder / "tinysr-gimp.po").read_text(encoding="utf-8"), "compile the .po file again"


class TestPlan:
    @pytest.fixture
    def part(self, geometry: Any) -> Any:
        def make(*sides: int, whole: tuple[int, ...] | None = None) -> Any:
            return geometry.Part(geometry.Box(*sides), geometry.Box(*(whole or sides)))

        return make

    def test_a_layer_alone_becomes_the_image(self, geometry: Any, part: Any) -> None:
        plan = geometry.plan("new-image", geometry.Box(0, 0, 100, 80), [part(-7, 5, 30, 20)], "x3", 0, 0)
        assert plan.frame == geometry.Box(0, 0, 90, 60)
        assert plan.boxes == [plan.frame]
        assert plan.factors.largest == 3

    def test_layers_keep_their_places(self, geometry: Any, part: Any) -> None:
        layers = [part(-4, 20, 12, 16), part(5, 6, 20, 10)]
        plan = geometry.plan("new-image", geometry.Box(0, 0, 40, 30), layers, "x3", 0, 0)
        assert plan.frame == geometry.Box(0, 0, 87, 90)
        assert plan.boxes == [geometry.Box(0, 42, 36, 48), geometry.Box(27, 0, 60, 30)]

    def test_a_scaled_image_is_measured_by_its_canvas(self, geometry: Any, part: Any) -> None:
        plan = geometry.plan("scale-image", geometry.Box(0, 0, 100, 50), [part(10, 10, 20, 20)], "size", 250, 0)
        assert plan.frame == geometry.Box(0, 0, 250, 125)
        assert plan.boxes == [geometry.Box(25, 25, 50, 50)]

    @pytest.mark.parametrize("output", ["new-image", "scale-image", "replace-image"])
    def test_layers_that_touch_still_touch(self, geometry: Any, part: Any, output: str) -> None:
        layers = [part(0, 0, 3, 20), part(3, 0, 3, 20), part(6, 0, 34, 20)]
        plan = geometry.plan(output, geometry.Box(0, 0, 40, 20), layers, "size", 60, 0)
        assert [(box.x, box.x + box.width) for box in plan.boxes] == [(0, 5), (5, 9), (9, 60)]

    def test_a_scaled_image_is_scaled_by_what_its_whole_pixels_allow(self, geometry: Any, part: Any) -> None:
        """The height is rounded, so the factor of GIMP is not quite that of the width."""
        plan = geometry.plan("scale-image", geometry.Box(0, 0, 1000, 7), [part(0, 0, 1000, 7)], "size", 1500, 0)
        assert (plan.frame.height, plan.factors.y) == (11, 11 / 7)
        assert plan.boxes == [plan.frame]

    def test_both_sides_given_stretch(self, geometry: Any, part: Any) -> None:
        plan = geometry.plan("new-image", geometry.Box(0, 0, 20, 10), [part(0, 0, 20, 10)], "size", 30, 40)
        assert (plan.frame.width, plan.frame.height, plan.factors.largest) == (30, 40, 4)
        assert plan.factors.stretches

    @pytest.mark.parametrize("output", ["new-layer", "replace-layer"])
    def test_a_layer_grows_about_its_centre(self, geometry: Any, part: Any, output: str) -> None:
        canvas = geometry.Box(0, 0, 50, 50)
        plan = geometry.plan(output, canvas, [part(10, 20, 20, 10)], "x3", 0, 0)
        assert plan.frame == canvas
        assert plan.boxes == [geometry.Box(-10, 10, 60, 30)]

    def test_layers_of_a_group_grow_about_its_centre(self, geometry: Any, part: Any) -> None:
        group = 10, 20, 20, 10
        layers = [part(10, 20, 5, 5, whole=group), part(20, 25, 10, 5, whole=group)]
        plan = geometry.plan("replace-layer", geometry.Box(0, 0, 50, 50), layers, "x2", 0, 0)
        assert plan.boxes == [geometry.Box(0, 15, 10, 10), geometry.Box(20, 25, 20, 10)]

    def test_a_layer_of_the_same_size_keeps_its_place(self, geometry: Any, part: Any) -> None:
        plan = geometry.plan("same-size-layer", geometry.Box(0, 0, 50, 50), [part(3, 4, 20, 10)], "x4", 0, 0)
        assert plan.boxes == [geometry.Box(3, 4, 20, 10)]
        assert plan.factors.largest == 4

    def test_nothing_becomes_thinner_than_a_pixel(self, geometry: Any, part: Any) -> None:
        plan = geometry.plan("new-image", geometry.Box(0, 0, 1000, 1), [part(0, 0, 1000, 1)], "size", 10, 0)
        assert (plan.frame.width, plan.frame.height, plan.longest_side) == (10, 1, 10)


class TestRuntime:
    def test_the_environment_comes_first(self, client: Any, tmp_path: Path) -> None:
        (tmp_path / "runtime.json").write_text('{"command": ["/no/python"]}')
        runtime = client.read_runtime(tmp_path, {"TINYSR_PYTHON": sys.executable})
        assert runtime.command == (sys.executable, "-I", "-m", "tinysr_core.gimp.worker")

    def test_then_what_the_installer_recorded(self, client: Any, tmp_path: Path) -> None:
        (tmp_path / "runtime.json").write_text(json.dumps({"command": [sys.executable, "-I", "-c", "pass"]}))
        assert client.read_runtime(tmp_path, {}).command == (sys.executable, "-I", "-c", "pass")

    @pytest.mark.parametrize("runtime", [None, "{", "[]", '{"command": 3}', '{"command": ["/no/python"]}'])
    def test_else_the_user_is_told_what_to_run(self, client: Any, tmp_path: Path, runtime: str | None) -> None:
        if runtime is not None:
            (tmp_path / "runtime.json").write_text(runtime)
        with pytest.raises(client.WorkerError, match="tinysr gimp install"):
            client.read_runtime(tmp_path, {})

    def test_the_full_command_is_named_where_it_is_known(self, client: Any, tmp_path: Path) -> None:
        recorded = {"command": ["/no/python"], "installer": "/opt/venv/bin/tinysr gimp install"}
        (tmp_path / "runtime.json").write_text(json.dumps(recorded))
        with pytest.raises(client.WorkerError, match="Run `/opt/venv/bin/tinysr gimp install`"):
            client.read_runtime(tmp_path, {})


class TestWorker:
    @pytest.fixture
    def runtime(self, client: Any) -> Any:
        return lambda *command: client.Runtime(command)

    def test_it_enlarges_with_the_real_worker(self, client: Any, runtime: Any, tmp_path: Path) -> None:
        request = {"type": "resize", "width": 2, "height": 1, "channels": 1, "result_width": 4, "result_height": 2}
        with client.Worker(runtime(*worker_commands(sys.executable)[1]), tmp_path / "new" / "log") as worker:
            assert worker.hello().location
            result = worker.compute(request, [bytes(4), bytes(4)], lambda share: None)
            assert b"".join(result.strips) == bytes(32)
            assert not result.clipped
            with pytest.raises(client.WorkerError, match="do not understand each other"):
                worker.compute(request | {"width": 0}, [], lambda share: None)

    def test_leaving_it_ends_the_process(self, client: Any, runtime: Any, tmp_path: Path) -> None:
        with client.Worker(runtime(sys.executable, "-c", "import time; time.sleep(60)"), tmp_path / "log") as worker:
            process = worker._process
        assert process.returncode is not None

    def test_a_worker_that_says_nothing_is_not_waited_for_for_ever(
        self, client: Any, runtime: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(client, "HELLO_SECONDS", 0.5)
        with (
            client.Worker(runtime(sys.executable, "-c", "import time; time.sleep(60)"), tmp_path / "log") as worker,
            pytest.raises(client.WorkerError, match="does not answer"),
        ):
            worker.hello()

    def test_what_it_prints_lands_in_the_log_that_the_error_names(
        self, client: Any, runtime: Any, tmp_path: Path
    ) -> None:
        log = tmp_path / "log"
        program = "import sys; sys.exit('no torch today')"
        with (
            client.Worker(runtime(sys.executable, "-c", program), log) as worker,
            pytest.raises(client.WorkerError, match=r"status 1.*log"),
        ):
            worker.hello()
        assert "no torch today" in log.read_text()

    def test_gimps_python_variables_do_not_reach_it(
        self, client: Any, runtime: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in client.FOREIGN_VARIABLES:
            monkeypatch.setenv(name, "/nowhere")
        program = "import os; print([v for v in os.environ.values() if v == '/nowhere'], file=open('seen', 'w'))"
        monkeypatch.chdir(tmp_path)
        with client.Worker(runtime(sys.executable, "-c", program), tmp_path / "log") as worker:
            worker._process.wait(20)
        assert (tmp_path / "seen").read_text() == "[]\n"
