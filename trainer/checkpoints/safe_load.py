"""Checkpoint files read without trusting them: no code that a pickle holds is ever run.

Safetensors are read by name; pickles by torch's weights_only loader, never with mmap (which would take a file with a
short storage and hand out its neighbours' bytes as weights), after a look at the list of the archive's members.
"""

import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segkit.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor

ENDINGS = (".safetensors", ".pth", ".pt", ".ckpt", ".bin")
"""What a checkpoint file may be called."""

_MEMBERS = re.compile(r"[^/]+/(data\.pkl|data/\d+|version|byteorder|\.data/serialization_id|\.format_version|"
                      r"\.storage_alignment)")  # fmt: skip
_HARMLESS = re.compile(
    r"(pytorch_lightning|lightning|lightning_fabric|lightning_utilities|omegaconf)\..+|argparse\.Namespace|"
    r"numpy\.(core|_core)\.multiarray\.(scalar|_reconstruct)|numpy\.(dtype|ndarray)|numpy\.dtypes\.\w+|"
    r"collections\.defaultdict|pathlib\.(Posix|Windows)?Path|pathlib\._local\.\w+|typing\.Any"
)
"""Globals of honest training checkpoints. Each is replaced by a class that does nothing."""

_NESTED = ("state_dict", "module", "model")


class Tensors(Mapping[str, "Tensor"]):
    """The tensors of one file by name; those of a safetensors file are read when they are asked for.

    Attributes:
        path: the file.
        metadata: what a safetensors file says of itself.
    """

    def __init__(self, path: Path, tensors: "Mapping[str, Tensor]", metadata: Mapping[str, str] | None = None) -> None:
        self.path = path
        self.metadata = dict(metadata or {})
        self._tensors = tensors

    def __getitem__(self, name: str) -> "Tensor":
        return self._tensors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)


class _Lazy(Mapping[str, "Tensor"]):
    """The tensors of a safetensors file."""

    def __init__(self, path: Path) -> None:
        from safetensors import safe_open

        opened: Any = safe_open  # its stub leaves out the types
        self._file = opened(path, "pt")
        self._names = list(self._file.keys())
        self.metadata: dict[str, str] = self._file.metadata() or {}

    def __getitem__(self, name: str) -> "Tensor":
        if name not in self._names:
            raise KeyError(name)
        tensor: Tensor = self._file.get_tensor(name)
        return tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


class _Inert:
    """Stands for a class of another library; whatever it is made of is dropped."""

    def __new__(cls, *arguments: Any, **named: Any) -> "_Inert":
        return super().__new__(cls)

    def __init__(self, *arguments: Any, **named: Any) -> None:
        """Take nothing in."""

    def __setstate__(self, state: Any) -> None:
        """Take nothing in."""


def read(path: Path) -> Tensors:
    """Open a checkpoint: safetensors, or a pickle of torch's, its tensors at the top or nested in "state_dict".

    Raises:
        ModelError: it is not there, no checkpoint, damaged, or a pickle that asks for code; one line with the cure.
    """
    first = _first_bytes(path)
    if first[:2] == b"PK" or first[:1] == b"\x80":
        return _pickle(path, archive=first[:2] == b"PK")
    if first[8:9] == b"{":
        return _safetensors(path)
    for start, found in _STRANGERS.items():
        if first.lstrip()[: len(start)].lower() == start:
            raise ModelError(f"{path}: {found}.")
    raise ModelError(f"{path}: no checkpoint by its first bytes. Expected .safetensors, .pth or .ckpt.")


def weights_file(folder: Path) -> Path:
    """Return the file with the weights of a diffusers folder of one network.

    Raises:
        ModelError: there is none.
    """
    files = sorted(file for file in folder.iterdir() if file.suffix in ENDINGS)
    if not files:
        raise ModelError(f"{folder}: no weights in it. Expected a file such as diffusion_pytorch_model.safetensors.")
    return next((file for file in files if file.suffix == ".safetensors"), files[0])


_STRANGERS = {
    b"version https://git-lfs": "a git-lfs pointer, not the file itself. Type: git lfs pull",
    b"<": "a web page, not a checkpoint. Download the file itself",
    b"{": "a JSON text, not a checkpoint. Name the weights beside it",
}


def _first_bytes(path: Path) -> bytes:
    if not path.is_file():
        found = "a folder" if path.is_dir() else "no file" if path.exists() else "not there"
        raise ModelError(f"{path}: {found}. Expected a .safetensors, .pth or .ckpt file.")
    try:
        with path.open("rb") as file:
            first = file.read(64)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror}).") from None
    if not first:
        raise ModelError(f"{path}: empty. Download it again.")
    return first


def _safetensors(path: Path) -> Tensors:
    from safetensors import SafetensorError

    try:
        lazy = _Lazy(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(f"{path}: damaged or cut short ({_line(error)}). Download it again.") from None
    return Tensors(path, lazy, lazy.metadata)


def _pickle(path: Path, archive: bool) -> Tensors:
    import torch

    stubs = _stubs(path) if archive else []
    try:
        with torch.serialization.safe_globals(stubs):
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=False)
    except Exception as error:  # UnpicklingError, RuntimeError, EOFError, OSError, KeyError ...
        named = re.search(r"GLOBAL ([\w.]+)", str(error))
        if named:
            raise ModelError(_refusal(path, named[1])) from None
        raise ModelError(f"{path}: damaged or cut short ({_line(error)}). Download it again.") from None
    return Tensors(path, _tensors(content, path))


def _stubs(path: Path) -> list[Any]:
    """Return inert stand-ins for what honest checkpoints name; refuse others.

    Raises:
        ModelError: a name that is not on the list, or an archive that torch did not write.
    """
    import torch

    _require_plain(path)
    try:
        names = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except Exception as error:  # opcodes cut short, strings that are no text
        raise ModelError(f"{path}: damaged or cut short ({_line(error)}). Download it again.") from None
    for name in names:
        if not _HARMLESS.fullmatch(name):
            raise ModelError(_refusal(path, name))
    return [(type(name.rpartition(".")[2], (_Inert,), {}), name) for name in names]


def _refusal(path: Path, name: str) -> str:
    return (
        f"{path}: refused: it asks for {name}, which no weights need, and loading it could run a stranger's code. "
        "Nothing of it was run. Take a .safetensors file instead."
    )


def _require_plain(path: Path) -> None:
    """Refuse an archive with repeated, unknown or compressed members (1 MB deflated can take gigabytes)."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise ModelError(f"{path}: damaged or cut short ({_line(error)}). Download it again.") from None
    names = [member.filename for member in members]
    strange = next((name for name in names if not _MEMBERS.fullmatch(name) or names.count(name) > 1), None)
    packed = next((member.filename for member in members if member.compress_type != zipfile.ZIP_STORED), None)
    if strange is not None or packed is not None:
        which = f"strange member {strange[:60]!r}" if strange is not None else f"compressed member {packed!r}"
        raise ModelError(f"{path}: refused: an archive that torch did not write ({which}). Take another file.")


def _tensors(content: Any, path: Path) -> dict[str, "Tensor"]:
    import torch

    while isinstance(content, dict):
        inner = next((content[key] for key in _NESTED if isinstance(content.get(key), dict)), None)
        if inner is None:
            break
        content = inner
    found = (
        {str(name): value for name, value in content.items() if isinstance(value, torch.Tensor)}
        if isinstance(content, dict)
        else {}
    )
    if not found:
        raise ModelError(f"{path}: no tensors in it. Expected the weights of a network.")
    return found


def _line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0][:160] if text else type(error).__name__
