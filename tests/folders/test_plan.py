from pathlib import Path

import pytest

from tinysr_core.errors import RequestError
from tinysr_core.folders.plan import Job, plan_jobs


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


@pytest.mark.parametrize(
    ("name", "result", "kind"),
    [
        ("photo.png", "photo_x2.png", "png"),
        ("photo.JPEG", "photo_x2.JPEG", "jpeg"),
        ("holiday.2024.tif", "holiday.2024_x2.tif", "tiff"),
        ("phone.heic", "phone_x2.png", "png"),
        ("moving.gif", "moving_x2.png", "png"),
        ("no_suffix", "no_suffix_x2.png", "png"),
    ],
)
def test_a_result_goes_beside_its_picture_in_its_format_where_that_can_be_written(
    tmp_path: Path, name: str, result: str, kind: str
) -> None:
    assert plan_jobs([tmp_path / name], None, "x2") == [Job(tmp_path / name, tmp_path / result, kind)]


def test_an_asked_for_format_changes_the_suffix_only_where_it_must(tmp_path: Path) -> None:
    (png,) = plan_jobs([tmp_path / "a.png"], None, "x2", format="jpeg")
    (jpeg,) = plan_jobs([tmp_path / "a.jpeg"], None, "x2", format="jpeg")
    assert (png.output.name, jpeg.output.name) == ("a_x2.jpg", "a_x2.jpeg")


def test_output_is_a_file_or_a_folder(tmp_path: Path) -> None:
    picture = tmp_path / "a.jpg"
    assert plan_jobs([picture], tmp_path / "b.webp", "x2") == [Job(picture, tmp_path / "b.webp", "webp")]
    assert plan_jobs([picture], tmp_path / "new", "x2") == [Job(picture, tmp_path / "new" / "a.jpg", "jpeg")]
    (tmp_path / "v1.5").mkdir()
    assert plan_jobs([picture], tmp_path / "v1.5", "x2") == [Job(picture, tmp_path / "v1.5" / "a.jpg", "jpeg")]


def test_folders_keep_their_tree(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    touch(photos / "a.jpg", photos / "deep" / "er" / "b.PNG", photos / "notes.txt", photos / ".c.partial.png")
    touch(photos / ".thumbnails" / "d.png")
    flat = plan_jobs([photos], tmp_path / "out", "x2")
    tree = plan_jobs([photos], tmp_path / "out", "x2", recursive=True)
    assert [job.output.relative_to(tmp_path).as_posix() for job in flat] == ["out/a.jpg"]
    assert [job.output.relative_to(tmp_path).as_posix() for job in tree] == ["out/a.jpg", "out/deep/er/b.PNG"]
    assert plan_jobs([photos], None, "x2")[0].output == tmp_path / "photos_x2" / "a.jpg"


def test_results_of_an_earlier_run_are_no_pictures_of_the_folder(tmp_path: Path) -> None:
    touch(tmp_path / "a.png", tmp_path / "out" / "a.png")
    (job,) = plan_jobs([tmp_path], tmp_path / "out", "x2", recursive=True)
    assert job.input == tmp_path / "a.png"


def test_a_result_never_replaces_an_input(tmp_path: Path) -> None:
    picture, link, result = tmp_path / "a.png", tmp_path / "link.png", tmp_path / "a_x2.png"
    touch(picture, result)
    link.symlink_to(picture)
    for inputs, output in [
        ([picture], picture),
        ([picture], tmp_path / "." / "a.png"),
        ([link], picture),
        ([picture], link),
        ([picture], tmp_path),
        ([tmp_path], tmp_path),
        ([picture, result], None),
    ]:
        with pytest.raises(RequestError, match="would replace the input"):
            plan_jobs(inputs, output, "x2")


def test_two_pictures_never_become_one_file(tmp_path: Path) -> None:
    touch(tmp_path / "one" / "a.png", tmp_path / "two" / "a.png", tmp_path / "three" / "a.jpg")
    with pytest.raises(RequestError, match="would both become"):
        plan_jobs([tmp_path / "one", tmp_path / "two"], tmp_path / "out", "x2")
    with pytest.raises(RequestError, match="would both become"):
        plan_jobs([tmp_path / "one" / "a.png", tmp_path / "three" / "a.jpg"], tmp_path / "out", "x2", format="webp")


def test_impossible_outputs_are_refused(tmp_path: Path) -> None:
    touch(tmp_path / "photos" / "a.png", tmp_path / "file")
    photos, picture = tmp_path / "photos", tmp_path / "photos" / "a.png"
    for inputs, output, wanted, message in [
        ([picture], tmp_path / "a.psd", None, "no picture format has that suffix"),
        ([picture], tmp_path / "a.png", "jpeg", "the format asked for is jpeg"),
        ([photos], tmp_path / "all.png", None, "need a folder"),
        ([picture, photos], tmp_path / "all.png", None, "need a folder"),
        ([photos], tmp_path / "file", None, "is a file"),
    ]:
        with pytest.raises(RequestError, match=message):
            plan_jobs(inputs, output, "x2", format=wanted)


def test_nothing_to_do_is_said(tmp_path: Path) -> None:
    touch(tmp_path / "deep" / "a.png")
    with pytest.raises(RequestError, match="--recursive"):
        plan_jobs([tmp_path], None, "x2")
    with pytest.raises(RequestError, match="at least one picture"):
        plan_jobs([], None, "x2")
