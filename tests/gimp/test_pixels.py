"""The plug-in's pixels, in a real GIMP, against those of the core. The scripts in `batch` assert the rest."""

from typing import Any

import pytest


@pytest.mark.parametrize(
    ("script", "count"),
    [
        ("precisions.py", 18),
        ("profiles.py", 10),
        ("outputs.py", 13),
        ("layers.py", 15),
        ("filters.py", 4),
        ("text.py", 1),
        ("refusals.py", 1),
    ],
)
def test_results_are_those_of_the_core(gimp: Any, script: str, count: int) -> None:
    cases = gimp.run_cases(script)
    assert len(cases) == count
    for case in cases:
        gimp.check(case)
