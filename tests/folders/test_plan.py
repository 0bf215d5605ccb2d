from pathlib import Path
from typing import Any

import pytest

from tinysr_core.errors import RequestError
from tinysr_core.folders.naming import Job
from tinysr_core.folders.plan import Plan, plan_jobs
from tinysr_core.folders.settings import Settings

X2 = Settings()


def touch(*paths: Path) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def jobs(inputs: list[Path], output: str | Path | None = None, **options: Any) -> list[Job]:
    return list(plan_jobs(inputs, output, X2, **options).jobs)


def errors(plan: Plan) -> dict[str, str]:
    return {outcome.input.name: outcome.error or "" for outcome in plan.settled}


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
    assert jobs([tmp_path / name]) == [Job(tmp_path / name, tmp_path / result, kind)]


def test_an_asked_for_format_changes_the_suffix_only_where_it_must(tmp_path: Path) -> None:
    (png,) = jobs([tmp_path / "a.png"], format="jpeg")
    (jpeg,) = jobs([tmp_path / "a.jpeg"], format="jpeg")
    assert (png.output.name, jpeg.output.name) == ("a_x2.jpg", "a_x2.jpeg")


def test_output_is_a_file_or_a_folder(tmp_path: Path) -> None:
    picture = tmp_path / "a.jpg"
    assert jobs([picture], tmp_path / "b.webp") == [Job(picture, tmp_path / "b.webp", "webp")]
    assert jobs([picture], tmp_path / "new") == [Job(picture, tmp_path / "new" / "a.jpg", "jpeg")]
    (tmp_path / "v1.5").mkdir()
    assert jobs([picture], tmp_path / "v1.5") == [Job(picture, tmp_path / "v1.5" / "a.jpg", "jpeg")]


def test_folders_keep_their_tree(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    touch(photos / "a.jpg", photos / "deep" / "er" / "b.PNG", photos / "notes.txt", photos / ".c.partial.png")
    touch(photos / ".thumbnails" / "d.png")
    flat = jobs([photos], tmp_path / "out")
    tree = jobs([photos], tmp_path / "out", recursive=True)
    assert [job.output.relative_to(tmp_path).as_posix() for job in flat] == ["out/a.jpg"]
    assert [job.output.relative_to(tmp_path).as_posix() for job in tree] == ["out/a.jpg", "out/deep/er/b.PNG"]
    assert jobs([photos])[0].output == tmp_path / "photos_x2" / "a.jpg"


def test_results_of_an_earlier_run_are_not_inputs(tmp_path: Path) -> None:
    touch(tmp_path / "a.png", tmp_path / "out" / "b.png")
    (job,) = jobs([tmp_path], tmp_path / "out", recursive=True)
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
        ([picture, result], None),
    ]:
        plan = plan_jobs(inputs, output, X2)
        assert "would replace the input" in errors(plan)[inputs[0].name]
        assert len(plan.jobs) == len(inputs) - 1


def test_results_of_the_same_name_keep_their_suffix(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    touch(photos / "x.gif", photos / "x.png", photos / "y.gif", photos / "z.jpg", photos / "z.png")
    assert {job.input.name: job.output.name for job in jobs([photos])} == {
        "x.gif": "x.gif.png",
        "x.png": "x.png",
        "y.gif": "y.png",
        "z.jpg": "z.jpg",
        "z.png": "z.png",
    }
    assert {job.output.name for job in jobs([photos / "x.gif", photos / "x.png"])} == {"x.gif_x2.png", "x_x2.png"}
    webp = {job.output.name for job in jobs([photos], format="webp")}
    assert webp == {"x.gif.webp", "x.png.webp", "y.webp", "z.jpg.webp", "z.png.webp"}


def test_remaining_clashes_fail_alone(tmp_path: Path) -> None:
    touch(tmp_path / "one" / "a.png", tmp_path / "two" / "a.png", tmp_path / "two" / "b.png")
    plan = plan_jobs([tmp_path / "one", tmp_path / "two"], tmp_path / "out", X2)
    assert [job.input.name for job in plan.jobs] == ["b.png"]
    assert [outcome.input for outcome in plan.settled] == [tmp_path / "one" / "a.png", tmp_path / "two" / "a.png"]
    assert all("would both become" in (outcome.error or "") for outcome in plan.settled)


def test_a_slash_makes_the_output_a_folder(tmp_path: Path) -> None:
    picture = tmp_path / "a.jpg"
    assert jobs([picture], f"{tmp_path}/photos.2024/")[0].output == tmp_path / "photos.2024" / "a.jpg"
    assert jobs([picture, tmp_path / "b.jpg"], f"{tmp_path}/set.png/")[0].output == tmp_path / "set.png" / "a.jpg"


def test_the_name_follows_a_pattern(tmp_path: Path) -> None:
    touch(tmp_path / "photos" / "a.png")
    picture = tmp_path / "photos" / "a.png"
    assert jobs([picture], name_pattern="{name}-large")[0].output.name == "a-large.png"
    (job,) = jobs([tmp_path / "photos"], name_pattern="{model}_{size}_{name}")
    assert job.output == tmp_path / "photos_x2" / "portrait_x2_a.png"
    for pattern in ("large", "{name", "{name}/{size}", "{name}{date}", "{name!r}{}"):
        with pytest.raises(RequestError, match="not a pattern"):
            jobs([picture], name_pattern=pattern)


def test_formats_go_by_their_suffixes_too(tmp_path: Path) -> None:
    assert jobs([tmp_path / "a.png"], format="jpg")[0] == Job(tmp_path / "a.png", tmp_path / "a_x2.jpg", "jpeg")
    assert jobs([tmp_path / "a.png"], format="tif")[0].format == "tiff"
    with pytest.raises(RequestError, match="choose one of png"):
        jobs([tmp_path / "a.png"], format="psd")


def test_files_and_folders_are_left_out_by_pattern_and_the_rest_is_counted(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    touch(
        *(photos / name for name in ("a.jpg", "a_small.jpg", "raw.CR2", "raw.cr2", "x.jxl", "README", "drafts/b.jpg"))
    )
    plan = plan_jobs([photos], None, X2, recursive=True, exclude=["*_small.*", "drafts"])
    assert [job.input.name for job in plan.jobs] == ["a.jpg"]
    assert plan.passed_over == {".cr2": 2, ".jxl": 1, "": 1}
    assert [job.input.name for job in jobs([photos], recursive=True, exclude=["drafts/*"])] == ["a.jpg", "a_small.jpg"]


def test_in_place_puts_each_result_where_its_picture_is(tmp_path: Path) -> None:
    picture, link = tmp_path / "a.jpg", tmp_path / "link.jpg"
    touch(picture, tmp_path / "b.jpg", tmp_path / "b.jpg.orig")
    link.symlink_to(picture)
    backup = tmp_path / "a.jpg.orig"
    assert jobs([picture], in_place=True) == [Job(picture, picture, "jpeg", backup)]
    assert jobs([link], in_place=True, keep_backup=False) == [Job(picture, picture, "jpeg", backup, False)]
    plan = plan_jobs([tmp_path / "b.jpg", tmp_path / "b.jpg.orig"], None, X2, in_place=True)
    assert [outcome.skipped for outcome in plan.settled] == ["kept"]  # an original exists, but no record of a result
    for options in ({"output": tmp_path / "out"}, {"format": "png"}, {"name_pattern": "{name}"}):
        with pytest.raises(RequestError, match="--in-place"):
            jobs([picture], in_place=True, **options)


def test_impossible_outputs_are_refused(tmp_path: Path) -> None:
    touch(tmp_path / "photos" / "a.png", tmp_path / "file")
    photos, picture = tmp_path / "photos", tmp_path / "photos" / "a.png"
    for inputs, output, wanted, message in [
        ([picture], tmp_path / "a.psd", None, "suffix"),
        ([picture], tmp_path / "a.png", "jpeg", "--format is jpeg"),
        ([photos], tmp_path / "all.png", None, "need a folder"),
        ([picture, photos], tmp_path / "all.png", None, "need a folder"),
        ([photos], tmp_path / "file", None, "is a file"),
    ]:
        with pytest.raises(RequestError, match=message):
            plan_jobs(inputs, output, X2, format=wanted)


def test_a_job_without_pictures_is_refused(tmp_path: Path) -> None:
    touch(tmp_path / "deep" / "a.png")
    with pytest.raises(RequestError, match="--recursive"):
        jobs([tmp_path])
    with pytest.raises(RequestError, match="at least one picture"):
        jobs([])
