"""Downloads from a file server on this machine."""

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tinysr_core.errors import DataError
from tinysr_core.loss.download import Downloads, Source, load_backbone
from tinysr_core.loss.lpips import HEADS, NETWORKS, load_lpips
from tinysr_core.loss.vgg import VGG19_FILE, load_vgg19


class FileServer:
    """Serves the files of a folder. It closes the connection once, `break_after` bytes into an answer."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.requests: list[tuple[str, str | None]] = []
        """Path and requested range of each request."""
        self.break_after: int | None = None
        self.resumes = self.sends_size = True
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.answer(self)

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        requested = handler.headers.get("Range")
        self.requests.append((handler.path.lstrip("/"), requested))
        path = self.folder / handler.path.lstrip("/")
        if not path.is_file():
            handler.send_error(404)
            return
        data = path.read_bytes()
        start = int(requested.removeprefix("bytes=").removesuffix("-")) if requested and self.resumes else 0
        if start >= len(data):
            handler.send_error(416)
            return
        handler.send_response(206 if start else 200)
        if self.sends_size:
            handler.send_header("Content-Length", str(len(data) - start))
        handler.end_headers()
        broken, self.break_after = self.break_after, None
        handler.wfile.write(data[start:] if broken is None else data[start : start + broken])


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FileServer]:
    (tmp_path / "server").mkdir()
    server = FileServer(tmp_path / "server")
    yield server
    server.server.shutdown()
    server.server.server_close()


@pytest.fixture(autouse=True)
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of torch.hub."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    return tmp_path / "hub" / "checkpoints"


def publish(server: FileServer, name: str = "net.pth") -> tuple[Source, dict[str, torch.Tensor]]:
    """A file of 1 MB; only its tensor `keep` is needed."""
    tensors = {"keep": torch.rand(100), "drop": torch.rand(2**18)}
    torch.save(tensors, server.folder / name)
    digest = hashlib.sha256((server.folder / name).read_bytes()).hexdigest()[:8]
    return Source("a network", f"{server.address}/{name}", digest), tensors


def load(source: Source, downloads: Downloads) -> dict[str, torch.Tensor]:
    return load_backbone("net.safetensors", None, [source], lambda files: {"keep": files[0]["keep"]}, downloads)


def test_only_what_is_needed_stays_on_the_disk(server: FileServer, tmp_path: Path) -> None:
    source, tensors = publish(server)
    size = (server.folder / "net.pth").stat().st_size
    seen: list[tuple[int, int]] = []
    cache = tmp_path / "cache"
    downloads = Downloads(None, cache, lambda _, done, total: seen.append((done, total)))
    for _ in range(2):
        torch.testing.assert_close(load(source, downloads), {"keep": tensors["keep"]})
    assert server.requests == [("net.pth", None)]
    assert sum(path.stat().st_size for path in cache.iterdir()) < 1000
    assert seen[0] == (0, size)
    assert seen[-1] == (size, size)


@pytest.mark.parametrize("resumes", [True, False])
def test_a_broken_download_is_resumed(server: FileServer, tmp_path: Path, resumes: bool) -> None:
    source, tensors = publish(server)
    server.break_after, server.resumes = 300_000, resumes
    torch.testing.assert_close(load(source, Downloads(cache=tmp_path)), {"keep": tensors["keep"]})
    assert server.requests == [("net.pth", None), ("net.pth", "bytes=300000-")]


@pytest.mark.parametrize("received", [500_000, None])
def test_a_later_call_resumes(server: FileServer, tmp_path: Path, received: int | None) -> None:
    """Also one whose process was killed after the last byte."""
    source, tensors = publish(server)
    data = (server.folder / "net.pth").read_bytes()[:received]
    (tmp_path / f"{source.file_name}.part").write_bytes(data)
    torch.testing.assert_close(load(source, Downloads(cache=tmp_path)), {"keep": tensors["keep"]})
    assert server.requests == [("net.pth", f"bytes={len(data)}-")]


def test_a_damaged_download_is_refused_and_fetched_again(server: FileServer, tmp_path: Path) -> None:
    source, tensors = publish(server)
    good = (server.folder / "net.pth").read_bytes()
    (server.folder / "net.pth").write_bytes(good[:-1] + b"?")
    with pytest.raises(DataError, match=r"net\.safetensors is damaged.*SHA-256.*Run the same"):
        load(source, Downloads(cache=tmp_path))
    (server.folder / "net.pth").write_bytes(good)
    torch.testing.assert_close(load(source, Downloads(cache=tmp_path)), {"keep": tensors["keep"]})


def test_a_damaged_cache_is_made_again(server: FileServer, tmp_path: Path) -> None:
    source, tensors = publish(server)
    (tmp_path / "net.safetensors").write_bytes(b"half a file")
    torch.testing.assert_close(load(source, Downloads(cache=tmp_path)), {"keep": tensors["keep"]})


def test_what_torch_hub_has_is_not_downloaded(server: FileServer, tmp_path: Path, hub: Path) -> None:
    source, tensors = publish(server)
    (server.folder / "net.pth").rename(hub / source.file_name)
    torch.testing.assert_close(load(source, Downloads(cache=tmp_path)), {"keep": tensors["keep"]})
    assert not server.requests
    assert (hub / source.file_name).is_file()


def test_without_network_the_error_names_both_remedies(server: FileServer, tmp_path: Path) -> None:
    source, _ = publish(server)
    (server.folder / "net.pth").unlink()
    with pytest.raises(DataError, match=r"404.*Connect to the network.*--backbones"):
        load(source, Downloads(cache=tmp_path))
    assert len(server.requests) == 1
    with pytest.raises(DataError, match=r"net\.safetensors could not be downloaded"):
        load(Source("a network", "http://127.0.0.1:1/net.pth", "0"), Downloads(cache=tmp_path))


def test_a_server_that_does_not_send_the_size_is_named(server: FileServer, tmp_path: Path) -> None:
    source, _ = publish(server)
    server.sends_size = False
    with pytest.raises(DataError, match=r"does not send the size of http.*net\.pth"):
        load(source, Downloads(cache=tmp_path))


def test_a_mirror_has_the_files_as_they_are_kept(server: FileServer, tmp_path: Path) -> None:
    (server.folder / "net.safetensors").write_bytes(b"an error page")
    source = Source("a network", "http://127.0.0.1:1/net.pth", "0")
    with pytest.raises(DataError, match=r"net\.safetensors is damaged"):
        load(source, Downloads(server.address, tmp_path))
    tensors = {"keep": torch.rand(10)}
    save_file(tensors, server.folder / "net.safetensors")
    for _ in range(2):
        torch.testing.assert_close(load(source, Downloads(server.address, tmp_path)), tensors)
    assert len(server.requests) == 2


@pytest.mark.parametrize("name", [VGG19_FILE, "lpips_alex.safetensors", "lpips_squeeze.safetensors"])
def test_a_missing_file_in_a_given_folder_is_an_error(name: str, tmp_path: Path) -> None:
    def load() -> object:
        if name == VGG19_FILE:
            return load_vgg19(tmp_path)
        return load_lpips("alex" if "alex" in name else "squeeze", tmp_path)

    with pytest.raises(DataError, match=f"no {name} in {tmp_path}"):
        load()
    (tmp_path / name).write_bytes(b"no tensors")
    with pytest.raises(DataError, match=f"{name} cannot be read.*Download it again"):
        load()


def test_lpips_is_put_together_from_two_files(hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """torchvision's network without the classifier, and the heads, which are renamed."""
    heads = {f"lin{i}.model.1.weight": torch.rand(1, c, 1, 1) for i, c in enumerate((64, 192, 384, 256, 256))}
    network = {"features.0.weight": torch.rand(64, 3, 11, 11), "classifier.1.weight": torch.rand(2, 2)}
    for table, tensors in ((NETWORKS, network), (HEADS, heads)):
        torch.save(tensors, hub / table["alex"].file_name)
    monkeypatch.setattr("tinysr_core.loss.download._sha256", lambda path: Path(path).stem.rsplit("-", 1)[-1])
    tensors = load_lpips("alex", None, Downloads(cache=tmp_path)).state_dict()
    assert set(tensors) == {"features_0_weight", *(f"lin{i}_weight" for i in range(5)), "shift", "scale"}
    assert torch.equal(tensors["lin2_weight"], heads["lin2.model.1.weight"])
    assert {source.file_name for source in HEADS.values()} == {"alex-df73285e.pth", "squeeze-4a5350f2.pth"}


def test_of_vgg19_the_layers_up_to_conv3_2_are_kept(hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layers = (0, 2, 5, 7, 10, 12, 14, 34)
    network = {f"features.{i}.weight": torch.rand(1) for i in layers} | {"classifier": torch.rand(9)}
    torch.save(network, hub / "vgg19-dcbb9e9d.pth")
    monkeypatch.setattr("tinysr_core.loss.download._sha256", lambda path: "dcbb9e9d")
    load_vgg19(None, Downloads(cache=tmp_path))
    assert set(load_file(tmp_path / VGG19_FILE)) == {f"features.{i}.weight" for i in layers[:6]}


def test_a_folder_with_the_file_needs_no_network(backbones: Path) -> None:
    torch.testing.assert_close(load_vgg19(backbones), load_file(backbones / VGG19_FILE))
