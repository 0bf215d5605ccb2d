"""Broken workers, cancelling, and two runs at once, in a real GIMP. The scripts in `batch` assert most of it."""

from dataclasses import replace
from typing import Any


def test_failures_leave_the_image_and_say_what_to_do(gimp: Any) -> None:
    gimp.run("failures.py")


def test_two_runs_side_by_side(gimp: Any) -> None:
    cases = gimp.run_cases("parallel.py")
    assert len(cases) == 2
    second = replace(gimp, folder=gimp.folder / "second")
    for case in [*cases, *second.read_cases()]:
        gimp.check(case)


def test_layered_documents(gimp: Any) -> None:
    assert "No network enlarges 16× at once. It is done in steps: 8×, 2×." in gimp.run("documents.py")


def test_an_image_that_changes_meanwhile_is_left_alone(gimp: Any) -> None:
    gimp.run("changes.py")
