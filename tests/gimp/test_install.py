import json
import os
import stat
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from tinysr_core import __version__
from tinysr_core.errors import RequestError, TinySRError
from tinysr_core.gimp import install as gimp_install
from tinysr_core.gimp.install import (
    Profile,
    check_plugin,
    find_profiles,
    install_plugin,
    plugin_source,
    profile_at,
    uninstall_plugin,
)


def make(*folders: Path) -> None:
    for folder in folders:
        folder.mkdir(parents=True)


@pytest.fixture
def profile(tmp_path: Path) -> Profile:
    folder = tmp_path / "GIMP" / "3.0"
    make(folder)
    return Profile(folder)


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


class TestFindProfiles:
    def test_linux(self, tmp_path: Path) -> None:
        native, flatpak, snap = (
            tmp_path / ".config/GIMP",
            tmp_path / ".var/app/org.gimp.GIMP/config/GIMP",
            tmp_path / "snap/gimp/current/.config/GIMP",
        )
        make(*(native / name for name in ("2.10", "3.0", "3.10", "3.2", "3.x")), flatpak / "3.2", snap / "3.0")
        assert find_profiles(tmp_path, {"PATH": ""}, "linux") == [
            Profile(native / "3.10"),
            Profile(native / "3.2"),
            Profile(native / "3.0"),
            Profile(flatpak / "3.2", "flatpak"),
            Profile(snap / "3.0", "snap"),
        ]

    def test_the_profile_of_the_only_gimp_is_flatpaks(self, tmp_path: Path) -> None:
        make(tmp_path / ".config/GIMP/3.2", tmp_path / ".local/share/flatpak/app/org.gimp.GIMP")
        assert find_profiles(tmp_path, {"PATH": ""}, "linux")[0].host == "flatpak"
        script(tmp_path / "bin/gimp", "#!/bin/sh\n")
        assert find_profiles(tmp_path, {"PATH": str(tmp_path / "bin")}, "linux")[0].host == "native"

    def test_inside_flatpak(self, tmp_path: Path) -> None:
        config = tmp_path / ".var/app/org.gimp.GIMP/config"
        make(config / "GIMP/3.2", tmp_path / ".local/share/flatpak/app/org.gimp.GIMP")
        environment = {"PATH": "", "FLATPAK_ID": "org.gimp.GIMP", "XDG_CONFIG_HOME": str(config)}
        assert find_profiles(tmp_path, environment, "linux") == [Profile(config / "GIMP/3.2")]

    def test_windows(self, tmp_path: Path) -> None:
        roaming, store = tmp_path / "Roaming", tmp_path / "Local/Packages/GIMP.43237F745779_x/LocalCache/Roaming"
        make(roaming / "GIMP/3.0", store / "GIMP/3.2")
        environment = {"APPDATA": str(roaming), "LOCALAPPDATA": str(tmp_path / "Local")}
        expected = [Profile(roaming / "GIMP/3.0"), Profile(store / "GIMP/3.2")]
        assert find_profiles(tmp_path, environment, "win32") == expected

    def test_macos(self, tmp_path: Path) -> None:
        folder = tmp_path / "Library/Application Support/GIMP/3.0"
        make(folder)
        assert find_profiles(tmp_path, {}, "darwin") == [Profile(folder)]

    def test_gimp3_directory_comes_first_and_once(self, tmp_path: Path) -> None:
        make(tmp_path / ".config/GIMP/3.0")
        named = find_profiles(tmp_path, {"GIMP3_DIRECTORY": "/elsewhere", "PATH": ""}, "linux")
        assert named == [Profile(Path("/elsewhere")), Profile(tmp_path / ".config/GIMP/3.0")]
        relative = find_profiles(tmp_path, {"GIMP3_DIRECTORY": ".config/GIMP/3.0", "PATH": ""}, "linux")
        assert relative == [Profile(tmp_path / ".config/GIMP/3.0")]


class TestProfileAt:
    def test_the_path_that_the_preferences_show_is_understood(self, tmp_path: Path) -> None:
        settings = tmp_path / "GIMP" / "3.2"
        make(settings / "plug-ins" / "tinysr-gimp")
        for folder in (settings, settings / "plug-ins", settings / "plug-ins" / "tinysr-gimp"):
            assert profile_at(folder).plugin == settings / "plug-ins" / "tinysr-gimp"

    def test_settings_elsewhere_are_known_by_what_they_hold(self, tmp_path: Path) -> None:
        (tmp_path / "gimprc").touch()
        assert profile_at(tmp_path).folder == tmp_path

    @pytest.mark.parametrize("name", ["missing", "other"])
    def test_folders_where_gimp_never_looks_are_refused(self, tmp_path: Path, name: str) -> None:
        make(tmp_path / "other")
        with pytest.raises(RequestError, match=name):
            profile_at(tmp_path / name)


def test_no_profile_is_an_error() -> None:
    with pytest.raises(TinySRError, match="Start GIMP 3 once"):
        install_plugin([])


def test_install_check_uninstall(profile: Profile) -> None:
    (before,) = check_plugin([profile])
    assert not before.installed
    assert before.problem is not None

    (report,) = install_plugin([profile])
    assert (report.installed, report.problem) == (True, None)
    main = profile.plugin / "tinysr-gimp.py"
    assert main.stat().st_mode & stat.S_IXUSR
    runtime = json.loads((profile.plugin / "runtime.json").read_text())
    assert (runtime["version"], runtime["command"]) == (__version__, list(report.command))
    assert runtime["installer"].endswith("gimp install")
    assert Path(runtime["installer"].split()[0]).exists()
    assert runtime["help"].endswith("docs/gimp.md")
    copied = {path.relative_to(profile.plugin) for path in profile.plugin.rglob("*") if path.is_file()}
    shipped = {path.relative_to(plugin_source()) for path in plugin_source().rglob("*") if path.is_file()}
    shipped = {path for path in shipped if path.suffix not in (".po", ".pyc")}
    assert copied == shipped | {Path("runtime.json")}
    assert sorted(path.name for path in profile.plugin.parent.iterdir()) == ["tinysr-gimp"]

    (after,) = check_plugin([profile])
    assert after == report
    (gone,) = uninstall_plugin([profile])
    assert not gone.installed
    assert not profile.plugin.exists()
    assert uninstall_plugin([profile]) == []


def test_installing_again_replaces_the_whole_plugin_and_tells_gimp_by_its_time(profile: Profile) -> None:
    install_plugin([profile])
    stale = profile.plugin / "tinysr_gimp" / "of_an_older_version.py"
    stale.touch()
    os.utime(profile.plugin / "tinysr-gimp.py", (1, 1))
    install_plugin([profile])
    assert not stale.exists()
    assert (profile.plugin / "tinysr-gimp.py").stat().st_mtime > 1


def test_a_python_without_tinysr_is_told(profile: Profile, tmp_path: Path) -> None:
    venv.create(tmp_path / "empty", with_pip=False, symlinks=os.name != "nt")
    python = tmp_path / "empty" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    (report,) = install_plugin([profile], str(python))
    assert not report.installed
    assert report.problem is not None
    assert "No module named 'tinysr_core'" in report.problem
    assert not profile.plugin.exists()


def test_a_python_that_is_not_there_is_told(profile: Profile) -> None:
    (report,) = install_plugin([profile], "/no/such/python")
    assert report.problem is not None
    assert "/no/such/python does not run" in report.problem


@pytest.mark.skipif(os.name == "nt", reason="needs a link")
def test_a_python_is_looked_up_and_recorded_in_full(
    profile: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path / "bin")
    hello = {"type": "hello", "location": str(gimp_install.CORE), "version": __version__}
    script(tmp_path / "bin" / "my-python", f"#!/bin/sh\necho '{json.dumps(hello)}'\n")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    (report,) = install_plugin([profile], "my-python")
    assert report.problem is None
    assert report.command[0] == str(tmp_path / "bin" / "my-python")


@pytest.mark.skipif(os.name == "nt", reason="renames differ")
def test_a_failed_exchange_brings_the_old_plugin_back(profile: Profile, monkeypatch: pytest.MonkeyPatch) -> None:
    install_plugin([profile])
    rename = Path.rename

    def refuse_new(path: Path, target: Path) -> Path:
        if path.suffix == ".new":
            raise OSError(13, "Permission denied")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refuse_new)
    (report,) = install_plugin([profile])
    assert report.problem is not None
    assert "Permission denied" in report.problem
    monkeypatch.undo()
    assert check_plugin([profile])[0].problem is None


def test_another_tinysr_in_the_way_is_told(profile: Profile, tmp_path: Path) -> None:
    hello = {"type": "hello", "protocol": 1, "version": "0.0.1", "location": "/old/tinysr_core", "models": []}
    python = script(tmp_path / "python", f"#!/bin/sh\necho '{json.dumps(hello)}'\n")
    (report,) = install_plugin([profile], str(python))
    assert report.problem is not None
    assert "0.0.1 in /old/tinysr_core" in report.problem


@pytest.mark.skipif(os.name == "nt", reason="needs a shell script")
@pytest.mark.parametrize("host", ["flatpak", "snap"])
def test_sandboxes_are_entered_and_advised_on(
    host: gimp_install.Host, profile: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "log"
    script(tmp_path / "bin" / host, f'#!/bin/sh\necho "$@" >> {log}\necho no such file >&2\nexit 127\n')
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    (report,) = install_plugin([Profile(profile.folder, host)])
    assert not report.installed
    assert report.problem is not None
    assert "sandbox" in report.problem
    assert "no such file" in report.problem
    entered = {"flatpak": f"run --command={sys.executable} org.gimp.GIMP -I", "snap": "run --shell gimp -c"}
    assert log.read_text().startswith(entered[host])


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda plugin: (plugin / "runtime.json").write_text("{"), "runtime.json is damaged"),
        (lambda plugin: (plugin / "runtime.json").unlink(), "runtime.json is damaged"),
        (lambda plugin: (plugin / "tinysr-gimp.py").unlink(), "not executable"),
        (lambda plugin: (plugin / "tinysr_gimp" / "pixels.py").unlink(), "pixels.py is missing"),
        (lambda plugin: (plugin / "tinysr_gimp" / "pixels.py").write_text(""), "does not belong to this version"),
        (
            lambda plugin: (plugin / "runtime.json").write_text('{"version": "0.0.1", "command": ["python"]}'),
            "has version 0.0.1",
        ),
        (
            lambda plugin: (plugin / "runtime.json").write_text(
                json.dumps({"version": __version__, "command": ["/no/such/python"]})
            ),
            "does not run",
        ),
    ],
)
def test_check_says_what_is_wrong(profile: Profile, damage: object, words: str) -> None:
    install_plugin([profile])
    assert callable(damage)
    damage(profile.plugin)
    (report,) = check_plugin([profile])
    assert report.installed
    assert report.problem is not None
    assert words in report.problem


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="needs a user who may not write everywhere")
def test_a_folder_that_may_not_be_written_to_is_told(profile: Profile) -> None:
    profile.folder.chmod(0o500)
    (report,) = install_plugin([profile])
    profile.folder.chmod(0o700)
    assert report.problem is not None
    assert "close GIMP" in report.problem


def test_a_failed_copy_leaves_the_old_plugin(profile: Profile, monkeypatch: pytest.MonkeyPatch) -> None:
    install_plugin([profile])
    before = (profile.plugin / "tinysr-gimp.py").stat().st_mtime_ns

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(gimp_install.shutil, "copytree", full)
    (report,) = install_plugin([profile])
    assert report.problem is not None
    assert "No space left" in report.problem
    assert report.installed
    assert (profile.plugin / "tinysr-gimp.py").stat().st_mtime_ns == before
    assert [path.name for path in profile.plugin.parent.iterdir()] == ["tinysr-gimp"]


@pytest.mark.slow
def test_install_from_a_wheel(profile: Profile, tmp_path: Path) -> None:
    """The wheel carries the plug-in, and installs it with the plain `python -I -m` command."""
    root = Path(__file__).parents[2]
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", tmp_path, root], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    venv.create(tmp_path / "venv", with_pip=False)
    packages = next((tmp_path / "venv").rglob("site-packages"))
    subprocess.run([*pip, "install", "--no-deps", "--target", packages, wheel], check=True)
    # the big packages come from this Python
    own = [path for path in sys.path if path.endswith("site-packages")]
    (packages / "own.pth").write_text("\n".join(own))
    program = (
        "import sys; from pathlib import Path; from tinysr_core.gimp.install import Profile, install_plugin\n"
        "(report,) = install_plugin([Profile(Path(sys.argv[1]))]); print(report.problem); print(*report.command)"
    )
    python = tmp_path / "venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    done = subprocess.run([python, "-I", "-c", program, profile.folder], capture_output=True, text=True, check=True)
    problem, command = done.stdout.splitlines()
    assert problem == "None"
    assert command.endswith("-I -m tinysr_core.gimp.worker")
    assert list(profile.plugin.glob("locale/*/LC_MESSAGES/tinysr-gimp.mo"))
