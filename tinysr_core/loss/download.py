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
"""Bytes that are read at once."""
ATTEMPTS = 3
"""A broken connection is resumed so often before the download counts as failed."""
TIMEOUT = 30.0
"""Seconds without an answer after which a connection counts as broken."""


@dataclass(frozen=True)
class Source:
    """A file of tensors on the network."""

    title: str
    """What it is, for people."""
    url: str
    digest: str
    """The first digits of its SHA-256; empty where they are not known."""

    @property
    def file_name(self) -> str:
        """Its name in the caches; torch.hub uses the same one."""
        name = self.url.rsplit("/", 1)[-1]
        return name if self.digest in name else f"{name.removesuffix('.pth')}-{self.digest}.pth"


def _silent(source: Source, done: int, total: int) -> None:
    """Report nothing."""


@dataclass(frozen=True)
class Downloads:
    """How files that are missing are fetched."""

    mirror: str | None = None
    """Address of a folder that has the safetensors files; None: they are made from their publishers' files."""
    cache: Path = field(default_factory=cache_folder)
    """Folder for the layers that are needed, and for unfinished downloads."""
    progress: Callable[[Source, int, int], None] = _silent
    """Called with the bytes received so far and in total; first when the server has told the size."""

    def fetch(self, source: Source) -> Path:
        """The whole file of `source` in the cache. A download that broke off is resumed, by a later call too.

        Raises:
            OSError: it cannot be fetched or written.
            ValueError: it is damaged.
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
        """Append to `part` what it lacks of the file."""
        done = part.stat().st_size if part.is_file() else 0
        request = urllib.request.Request(source.url, headers={"Range": f"bytes={done}-"} if done else {})
        try:
            answer = urllib.request.urlopen(request, timeout=TIMEOUT)
        except urllib.error.HTTPError as error:
            if error.code == 416:  # nothing is missing
                return
            raise
        with answer, part.open("ab") as stream:
            if answer.status != 206:  # the server cannot resume: it sends everything
                stream.truncate(0)
                done = 0
            total = done + int(answer.headers["Content-Length"])
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
    """The tensors of the safetensors file `name`: in `folder` if one is given, else in the cache.

    If the cache has no such file, it is downloaded from the mirror, or made by `select` from the files of `sources`:
    those in the cache of `torch.hub`, or else downloaded ones, which are deleted afterwards. Several processes may ask
    at the same time.

    Raises:
        DataError: the file is missing or damaged, or a source cannot be downloaded.
    """
    if folder is not None:
        try:
            return load_file(folder / name)
        except FileNotFoundError:
            raise DataError(
                f"There is no {name} in {folder}. Name the folder that has it, or none, to download it once."
            ) from None
        except (OSError, SafetensorError) as error:
            raise DataError(f"{folder / name} cannot be read ({error}). Get it again.") from error
    path = downloads.cache / name
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(f"{name}.lock")):
            with contextlib.suppress(FileNotFoundError, SafetensorError):
                return load_file(path)
            if downloads.mirror is not None:
                return _mirrored(path, downloads.mirror, downloads)
            return _make(path, sources, select, downloads)
    except OSError as error:
        raise DataError(
            f"{name} could not be downloaded ({error}). Connect to the network and run the same command again, or name "
            f"a folder that has {name} (--backbones)."
        ) from error
    except ValueError as error:
        raise DataError(f"What was downloaded for {name} is damaged ({error}). Try again.") from error


def _mirrored(path: Path, mirror: str, downloads: Downloads) -> dict[str, Tensor]:
    downloads.fetch(Source(path.stem, f"{mirror.rstrip('/')}/{path.name}", digest=""))
    try:
        return load_file(path)
    except SafetensorError as error:
        path.unlink()
        raise ValueError(str(error)) from error


def _make(
    path: Path,
    sources: Sequence[Source],
    select: Callable[[Sequence[Mapping[str, Tensor]]], dict[str, Tensor]],
    downloads: Downloads,
) -> dict[str, Tensor]:
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
