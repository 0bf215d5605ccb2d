import io
import time

import pytest
from rich.console import Console
from tinysr_training.progress import progress_bar, time_left

from tinysr_core.trainer import TrainingProgress
from tinysr_core.trainer.validation import Scores

REFERENCES = {"bicubic": Scores(30.0), "base": Scores(31.0)}


def at(step: int, now: Scores | None = None, **terms: float) -> TrainingProgress:
    scores = REFERENCES | ({"now": now} if now else {})
    return TrainingProgress(step, 100, 600 - 6 * step, terms, scores, "psnr")


def test_a_log_file_gets_a_line_for_each_validation() -> None:
    stream = io.StringIO()
    with progress_bar(Console(file=stream, width=60)) as update:
        first, second = Scores(31.25), Scores(31.5)
        for progress in (at(1), at(10, total=0.5, l1=0.1), at(20, first), at(21, first), at(40, second)):
            update(progress)
    assert stream.getvalue().splitlines() == [
        "step 20, validation: PSNR-Y 31.25 dB (base 31.00 dB)",
        "step 40, validation: PSNR-Y 31.50 dB (base 31.00 dB)",
    ]


def test_a_log_file_hears_of_the_loss_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tinysr_training.progress.LINE_SECONDS", 0.0)
    stream = io.StringIO()
    with progress_bar(Console(file=stream)) as update:
        update(at(10, total=0.5, l1=0.1))
    assert stream.getvalue() == "step 10: loss 0.5, l1 0.1, 9 min left\n"


def test_a_terminal_sees_the_bar() -> None:
    stream = io.StringIO()
    with progress_bar(Console(file=stream, force_terminal=True, width=80)) as update:
        update(at(10, total=0.5, l1=0.1))
        time.sleep(0.6)  # it is drawn four times a second
    assert "step 10" in stream.getvalue()
    assert "loss 0.5, l1 0.1" in stream.getvalue()


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s left"), (89, "89 s left"), (600, "10 min left"), (7300, "2 h 2 min left")]
)
def test_time_left(seconds: float, text: str) -> None:
    assert time_left(seconds) == text
