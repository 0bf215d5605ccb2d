"""Identity: the distance between the faces of a result and of the original in the embedding of a face recogniser."""

from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import RequestError, installs
from ..images import Pixels8

MODELS = "face_recognition_models"
"""The package with dlib's weights (public domain)."""


class FaceRecognizer:
    """dlib's face recogniser: a ResNet with an embedding of 128 numbers. Faces of different people are about 0.8 apart.

    Raises:
        RequestError: a package is missing.
    """

    def __init__(self) -> None:
        spec = find_spec(MODELS)
        if find_spec("dlib") is None or spec is None or not spec.submodule_search_locations:
            raise RequestError(f"Measuring identity needs dlib-bin and {MODELS}; {installs('identity')} adds them.")
        dlib: Any = import_module("dlib")
        folder = Path(spec.submodule_search_locations[0]) / "models"
        self._find: Any = dlib.get_frontal_face_detector()
        self._landmarks: Any = dlib.shape_predictor(str(folder / "shape_predictor_5_face_landmarks.dat"))
        self._network: Any = dlib.face_recognition_model_v1(str(folder / "dlib_face_recognition_resnet_model_v1.dat"))

    def distance(self, result: Pixels8, original: Pixels8) -> float | None:
        """Euclidean distance between the embeddings of the largest face of the original and of the same place in the
        result, both RGB uint8 [H,W,3]. None if no face is found in the original.
        """
        faces: Sequence[Any] = self._find(np.ascontiguousarray(original), 0)
        if not faces:
            return None
        face = max(faces, key=lambda found: found.area())
        ours, theirs = (self._describe(picture, face) for picture in (result, original))
        return float(np.linalg.norm(ours - theirs))

    def _describe(self, picture: Pixels8, face: Any) -> NDArray[np.float64]:
        pixels = np.ascontiguousarray(picture)
        return np.array(self._network.compute_face_descriptor(pixels, self._landmarks(pixels, face)))
