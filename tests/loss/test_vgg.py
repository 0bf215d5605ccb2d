from collections.abc import Callable
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from safetensors.torch import load_file, save_file

from tinysr_core.errors import DataError
from tinysr_core.loss.lpips import load_lpips
from tinysr_core.loss.vgg import VGG19_FILE, load_vgg19

Load = Callable[[Path | None], object]
LOADERS: dict[str, Load] = {
    VGG19_FILE: load_vgg19,
    "lpips_alex.safetensors": lambda folder: load_lpips("alex", folder),
    "lpips_squeeze.safetensors": lambda folder: load_lpips("squeeze", folder),
}


@pytest.mark.parametrize("name", LOADERS)
def test_a_missing_file_is_told_with_two_ways_out(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"no {name} in {tmp_path}; name the folder that holds it, or none"):
        LOADERS[name](tmp_path)
    (tmp_path / name).write_bytes(b"no tensors")
    with pytest.raises(DataError, match=f"{name} cannot be read.*get it again"):
        LOADERS[name](tmp_path)


@pytest.mark.parametrize("name", LOADERS)
@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (URLError("no route to host"), "no route to host.*connect to the network once, or name a folder that holds {}"),
        (RuntimeError("invalid hash value"), "fetched for it is damaged.*invalid hash value.*try again"),
    ],
)
def test_without_network_two_ways_out_are_told(
    name: str, error: Exception, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise error

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", fail)
    with pytest.raises(DataError, match=f"{name} is needed.*{sentence.format(name)}"):
        LOADERS[name](None)


def test_what_is_fetched_is_put_together(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """torchvision's network, of which the classifier is left, and the heads under the authors' names."""
    heads = {f"lin{i}.model.1.weight": torch.rand(1, c, 1, 1) for i, c in enumerate((64, 192, 384, 256, 256))}
    network = {"features.0.weight": torch.rand(64, 3, 11, 11), "classifier.1.weight": torch.rand(2, 2)}
    asked: list[tuple[str, str | None]] = []

    def fetched(url: str, *, file_name: str | None, check_hash: bool, weights_only: bool, **_: object) -> object:
        asked.append((url, file_name))
        assert check_hash
        assert weights_only
        return network if "download.pytorch.org" in url else heads

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", fetched)
    tensors = load_lpips("alex", None).state_dict()
    assert set(tensors) == {"features_0_weight", *(f"lin{i}_weight" for i in range(5)), "shift", "scale"}
    assert torch.equal(tensors["lin2_weight"], heads["lin2.model.1.weight"])
    assert asked[0] == ("https://download.pytorch.org/models/alexnet-owt-7be5be79.pth", None)
    assert asked[1][1] == "lpips_alex-df73285e.pth"


def test_a_folder_is_enough(tmp_path: Path, shared: Path) -> None:
    tensors = load_file(shared / "weights" / VGG19_FILE)
    save_file(tensors, tmp_path / VGG19_FILE)
    assert load_vgg19(tmp_path).keys() == tensors.keys()
