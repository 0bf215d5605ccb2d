"""Find and list checkpoints by name and scale. Needs no torch."""

import re
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..errors import CheckpointError, RequestError
from ..util import atomic_write
from .checkpoint import CheckpointInfo, read_info

SUFFIX = ".safetensors"
DEFAULT_NAME = "portrait"
CHAINED, NEAR = 4, 15 / 16
"""Networks with a scale above `CHAINED` are only used for factors of at least `NEAR` times their scale. For smaller
factors, two networks one after the other are better (docs/how-it-works.md, "Beyond ×4")."""
_FILE_NAME = re.compile(r"(?:tinysr-)?(?P<name>.+)-x(?P<scale>\d+)")


def shipped_folder() -> Path:
    """The folder of the weights that come with TinySR, in a clone or an installed package."""
    core = Path(__file__).parents[1]
    installed = core / "weights"
    return installed if installed.is_dir() else core.parent / "weights"


def user_folder() -> Path:
    """The folder of the user's own weights. It may not exist."""
    return Path.home() / ".tinysr" / "models"


def cache_folder() -> Path:
    """The folder for files that can be recomputed, beside the user's weights. It may not exist."""
    return Path.home() / ".tinysr" / "cache"


def model_name(path: Path) -> str:
    """The name that a checkpoint shares with those of other scales: `tinysr-portrait-x2.safetensors` -> `portrait`."""
    match = _FILE_NAME.fullmatch(path.stem)
    return match["name"] if match else path.stem


def list_files(folders: Iterable[Path] = ()) -> list[Path]:
    """Checkpoint files: the user's, then those in `folders`, then the shipped ones. The first of a file name counts."""
    found: dict[str, Path] = {}
    for folder in [user_folder(), *folders, shipped_folder()]:
        for path in sorted(folder.glob(f"*{SUFFIX}")):
            if not path.name.startswith("."):
                found.setdefault(path.name, path)
    return list(found.values())


def list_checkpoints(folders: Iterable[Path] = ()) -> tuple[list[CheckpointInfo], list[CheckpointError]]:
    """The headers of all checkpoints, and an error for each file that is not one."""
    infos: list[CheckpointInfo] = []
    errors: list[CheckpointError] = []
    for path in list_files(folders):
        try:
            infos.append(read_info(path))
        except CheckpointError as error:
            errors.append(error)
    return infos, errors


def find_checkpoint(name_or_path: str, factor: float = 2.0, folders: Sequence[Path] = ()) -> Path:
    """The file of a checkpoint, given by name, file name or path.

    A name such as `portrait` has files of several scales. The one with the smallest scale of at least `factor` is
    chosen; if there is none, the one with the largest scale. Scales above 4 count only near their own factor.

    Raises:
        CheckpointError: no checkpoint has this name.
    """
    path = Path(name_or_path).expanduser()
    if path.is_file():
        return path
    if path.suffix == SUFFIX and len(path.parts) > 1:
        raise CheckpointError(f"There is no file {path}; give the path of a checkpoint or a name from `tinysr models`.")
    files = list_files(folders)
    for file in files:
        if name_or_path in (file.name, file.stem):
            return file
    family = sorted((_scale(file), file) for file in files if model_name(file) == name_or_path)
    if not family:
        names = sorted({model_name(file) for file in files})
        raise CheckpointError(f"There is no model {name_or_path!r}; available are {', '.join(names) or 'none'}.")
    usable = [(scale, file) for scale, file in family if scale <= max(CHAINED, factor / NEAR)] or family
    sufficient = [file for scale, file in usable if scale >= factor - 1e-6]
    return sufficient[0] if sufficient else usable[-1][1]


def find_exactly(name: str, scale: int) -> Path:
    """The file of the model `name` with exactly this scale.

    Raises:
        CheckpointError: no checkpoint has this name.
        RequestError: the model has no file of this scale.
    """
    path = find_checkpoint(name, scale)
    own = read_info(path).config.scale
    if own != scale:
        raise RequestError(f"{path} enlarges {own} times, not {scale}; choose another model or --scale.")
    return path


def install_checkpoint(path: Path) -> Path:
    """Copy a checkpoint to `user_folder`, where the command line, ComfyUI and GIMP find it. Returns the new path.

    Raises:
        OSError: the folder cannot be written to, or the disk is full.
    """
    folder = user_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_write(folder / path.name) as temporary:
        shutil.copyfile(path, temporary)
    return folder / path.name


def _scale(path: Path) -> int:
    match = _FILE_NAME.fullmatch(path.stem)
    return int(match["scale"]) if match else read_info(path).config.scale
