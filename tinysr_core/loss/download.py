"""The weights of VGG19 and LPIPS: from a folder, from a cache, or downloaded once into the cache."""

import contextlib
import hashlib
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path
from typing import Any, cast

import torch
from filelock import FileLock
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..errors import DataError
from ..model import cache_folder
from ..util import atomic_write

CHUNK = 2**18
"""Bytes to read at a time."""
ATTEMPTS = 3
"""Number of connections that may break before a download fails."""
TIMEOUT = 30.0
"""Seconds without data after which a connection counts as broken."""


@dataclass(frozen=True)
class Source:
    """A file of tensors on a web server."""

    title: str
    """What the file is, for messages."""
    url: str
    digest: str
    """The first hexadecimal digits of its SHA-256; empty if unknown."""

    @property
    def file_name(self) -> str:
        """The name of the file in our cache and in that of torch.hub."""
        name = self.url.rsplit("/", 1)[-1]
        return name if self.digest in name else f"{name.removesuffix('.pth')}-{self.digest}.pth"


@dataclass(frozen=True)
class Downloads:
    """Where missing files are downloaded from and to."""

    mirror: str | None = None
    """URL of a folder with the safetensors files; None: they are made from the publishers' files."""
    cache: Path = field(default_factory=cache_folder)
    """Folder for the safetensors files and for unfinished downloads."""
    progress: Callable[[Source, int, int], None] = lambda source, done, total: None
    """Called with the bytes received so far, and the total; first when the server has sent the size."""

    def fetch(self, source: Source) -> Path:
        """Download the file of `source` into the cache and return its path. An interrupted download is resumed, even by
        a later call.

        Raises:
            OSError: the file cannot be downloaded or written.
            ValueError: the file is damaged.
        """
        path = self.cache / source.file_name
        part = path.with_name(f"{path.name}.part")
        for attempt in range(1, ATTEMPTS + 1):
            try:
                self._receive(source, part)
                break
            except (OSError, HTTPException) as error:
                if attempt == ATTEMPTS or isinstance(error, urllib.error.HTTPError):
                    raise OSError(str(error)) from error
        if not _sha256(part).startswith(source.digest):
            part.unlink()
            raise ValueError("its SHA-256 is wrong")
        part.replace(path)
        return path

    def _receive(self, source: Source, part: Path) -> None:
        """Download the missing rest of the file and append it to `part`."""
        done = part.stat().st_size if part.is_file() else 0
        request = urllib.request.Request(source.url, headers={"Range": f"bytes={done}-"} if done else {})
        try:
            answer = urllib.request.urlopen(request, timeout=TIMEOUT)
        except urllib.error.HTTPError as error:
            if error.code == 416:  # the range is empty: `part` is complete
                return
            raise
        with answer, part.open("ab") as stream:
            if answer.status != 206:  # the server cannot resume and sends the whole file
                stream.truncate(0)
                done = 0
            length = answer.headers["Content-Length"]
            if length is None:
                raise OSError(f"the server does not send the size of {source.url}")
            total = done + int(length)
            self.progress(source, done, total)
            while chunk := answer.read(CHUNK):
                stream.write(chunk)
                done += len(chunk)
                self.progress(source, done, total)
        if done < total:
            raise OSError(f"the connection broke after {done} of {total} bytes")


def load_backbone(
    name: str,
    folder: Path | None,
    sources: Sequence[Source],
    select: Callable[[Sequence[Mapping[str, Tensor]]], dict[str, Tensor]],
    downloads: Downloads,
) -> dict[str, Tensor]:
    """Load the tensors of the safetensors file `name`: from `folder` if one is given, else from the cache.

    If the cache lacks the file, it is downloaded from the mirror, or `select` makes it from the files of `sources`.
    These are taken from the cache of `torch.hub`; the others are downloaded, and deleted afterwards. Several processes
    may call this at the same time.

    Raises:
        DataError: the file is missing or damaged, or it cannot be downloaded.
    """
    if folder is not None:
        try:
            return load_file(folder / name)
        except FileNotFoundError:
            raise DataError(
                f"There is no {name} in {folder}. Give the folder that has it, or leave the folder out to download it."
            ) from None
        except (OSError, SafetensorError) as error:
            raise DataError(f"{folder / name} cannot be read ({error}). Download it again.") from error
    path = downloads.cache / name
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(f"{name}.lock")):
            with contextlib.suppress(FileNotFoundError, SafetensorError):
                return load_file(path)
            if downloads.mirror is not None:
                return _mirrored(path, downloads.mirror, downloads)
            return _converted(path, sources, select, downloads)
    except OSError as error:
        raise DataError(
            f"{name} could not be downloaded ({error}). Connect to the network and run the same command again, or give "
            "a folder that has the file (--backbones)."
        ) from error
    except ValueError as error:
        raise DataError(f"The download of {name} is damaged ({error}). Run the same command again.") from error


def _mirrored(path: Path, mirror: str, downloads: Downloads) -> dict[str, Tensor]:
    """The tensors of the file `path`, downloaded from the mirror."""
    downloads.fetch(Source(path.stem, f"{mirror.rstrip('/')}/{path.name}", digest=""))
    try:
        return load_file(path)
    except SafetensorError as error:
        path.unlink()
        raise ValueError(str(error)) from error


def _converted(
    path: Path,
    sources: Sequence[Source],
    select: Callable[[Sequence[Mapping[str, Tensor]]], dict[str, Tensor]],
    downloads: Downloads,
) -> dict[str, Tensor]:
    """The tensors that `select` takes from the publishers' files, also written to `path`."""
    cached = [Path(torch.hub.get_dir(), "checkpoints", source.file_name) for source in sources]
    files = [
        file if file.is_file() and _sha256(file).startswith(source.digest) else downloads.fetch(source)
        for source, file in zip(sources, cached, strict=True)
    ]
    contents = [cast("dict[str, Any]", torch.load(file, map_location="cpu", weights_only=True)) for file in files]
    tensors = {key: tensor.contiguous() for key, tensor in select(contents).items()}
    with atomic_write(path) as temporary:
        save_file(tensors, temporary)
    for file in files:
        if file.parent == downloads.cache:
            file.unlink()
    return tensors


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(2**20):
            digest.update(chunk)
    return digest.hexdigest()
