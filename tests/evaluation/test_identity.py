from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tinysr_core.errors import RequestError
from tinysr_core.evaluation import FaceRecognizer, Measurement, as_markdown
from tinysr_core.evaluation import identity as module


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(RequestError, match="dlib-bin"):
        FaceRecognizer()


def test_a_picture_without_a_face_has_no_distance() -> None:
    pytest.importorskip("dlib")
    flat = np.full((120, 120, 3), 90, np.uint8)
    assert FaceRecognizer().distance(flat, flat) is None


def test_a_blurred_face_is_further_away_than_the_face_itself() -> None:
    pytest.importorskip("dlib")
    face = Image.open(Path(module.__file__).parents[1] / "engines" / "portrait.jpg").convert("RGB").resize((320, 320))
    original, soft = np.asarray(face), np.asarray(face.resize((40, 40)).resize((320, 320)))
    recognizer = FaceRecognizer()
    same, blurred = (recognizer.distance(picture, original) for picture in (original, soft))
    if same is None or blurred is None:
        pytest.skip("the detector finds no face in the test picture")
    assert same == 0
    assert blurred > 0.05


def test_the_table_has_a_column_where_identity_was_measured() -> None:
    rows = [Measurement("a", "1", 2, "m", 30.0, 0.9, None, distance) for distance in (0.1, None)]
    assert "| identity |" in as_markdown(rows)
    assert "0.1000" in as_markdown(rows)
    assert "identity" not in as_markdown(rows[1:])
