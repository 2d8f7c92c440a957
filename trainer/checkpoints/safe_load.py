"""Read untrusted checkpoint files: code in a pickle is never executed.

Safetensors are read lazily by name. Pickles are read by torch's weights_only loader after the archive's members and the
globals that it names were checked; never with mmap, which accepts a storage that is too short and returns the
neighbouring bytes as weights.
"""

import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segkit.errors import ModelError

if TYPE_CHECKING:
    from torch import Tensor

SUFFIXES = (".safetensors", ".pth", ".pt", ".ckpt", ".bin")
"""File extensions of checkpoints."""

_MEMBERS = re.compile(r"[^/]+/(data\.pkl|data/\d+|version|byteorder|\.data/serialization_id|\.format_version|"
                      r"\.storage_alignment)")  # fmt: skip
_HARMLESS = re.compile(
    r"(pytorch_lightning|lightning|lightning_fabric|lightning_utilities|omegaconf)\..+|argparse\.Namespace|"
    r"numpy\.(core|_core)\.multiarray\.(scalar|_reconstruct)|numpy\.(dtype|ndarray)|numpy\.dtypes\.\w+|"
    r"collections\.defaultdict|pathlib\.(Posix|Windows)?Path|pathlib\._local\.\w+|typing\.Any"
)
"""Globals that ordinary training checkpoints name. Each is replaced by a class that does nothing."""

_NESTED = ("state_dict", "module", "model")


class Tensors(Mapping[str, "Tensor"]):
    """The tensors of one file by name; those of a safetensors file are read on access.

    Attributes:
        path: the file.
        metadata: metadata of a safetensors file; empty for pickles.
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
    """The tensors of a safetensors file, read on access."""

    def __init__(self, path: Path) -> None:
        from safetensors import safe_open

        untyped: Any = safe_open  # its stub declares no types
        self._file = untyped(path, "pt")
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
    """Stand-in for a class of another library; ignores every argument and state."""

    def __new__(cls, *arguments: Any, **named: Any) -> "_Inert":
        return super().__new__(cls)

    def __init__(self, *arguments: Any, **named: Any) -> None:
        """Ignore the arguments."""

    def __setstate__(self, state: Any) -> None:
        """Ignore the state."""


def read(path: Path) -> Tensors:
    """Open a checkpoint: safetensors, or a torch pickle with tensors at the top level or nested in "state_dict".

    Raises:
        ModelError: the file is missing, damaged, not a checkpoint, or a pickle that asks for code.
    """
    first = _first_bytes(path)
    if first[:2] == b"PK" or first[:1] == b"\x80":
        return _pickle(path, archive=first[:2] == b"PK")
    if first[8:9] == b"{":
        return _safetensors(path)
    for start, description in _OTHER_FILES.items():
        if first.lstrip()[: len(start)].lower() == start:
            raise ModelError(f"{path}: {description}.")
    raise ModelError(f"{path}: its first bytes are not those of a checkpoint. Expected .safetensors, .pth or .ckpt.")


def weights_file(folder: Path) -> Path:
    """Return the weights of a diffusers folder of one network; a .safetensors file is preferred.

    Raises:
        ModelError: the folder contains no checkpoint.
    """
    files = sorted(file for file in folder.iterdir() if file.suffix in SUFFIXES)
    if not files:
        raise ModelError(f"{folder}: contains no weights. Expected a file such as diffusion_pytorch_model.safetensors.")
    return next((file for file in files if file.suffix == ".safetensors"), files[0])


_OTHER_FILES = {
    b"version https://git-lfs": "a git-lfs pointer, not the file itself. Run: git lfs pull",
    b"<": "a web page, not a checkpoint. Download the file itself",
    b"{": "a JSON file, not a checkpoint. Use the file with the weights beside it",
}
"""What people mistake for checkpoints, by first bytes: a description and what to do."""


def _first_bytes(path: Path) -> bytes:
    if not path.is_file():
        reason = "is a folder" if path.is_dir() else "is not a regular file" if path.exists() else "does not exist"
        raise ModelError(f"{path}: {reason}. Expected a .safetensors, .pth or .ckpt file.")
    try:
        with path.open("rb") as file:
            first = file.read(64)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror}). Check its permissions.") from None
    if not first:
        raise ModelError(f"{path}: empty. Download it again.")
    return first


def _safetensors(path: Path) -> Tensors:
    from safetensors import SafetensorError

    try:
        lazy = _Lazy(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(f"{path}: damaged or truncated ({_line(error)}). Download it again.") from None
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
        raise ModelError(f"{path}: damaged or truncated ({_line(error)}). Download it again.") from None
    return Tensors(path, _tensors(content, path))


def _stubs(path: Path) -> list[Any]:
    """Return inert stand-ins for the harmless globals that a pickle names.

    Raises:
        ModelError: the pickle names another global, or torch did not write the archive.
    """
    import torch

    _require_plain(path)
    try:
        names = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except Exception as error:  # truncated opcodes, strings that are not UTF-8
        raise ModelError(f"{path}: damaged or truncated ({_line(error)}). Download it again.") from None
    for name in names:
        if not _HARMLESS.fullmatch(name):
            raise ModelError(_refusal(path, name))
    return [(type(name.rpartition(".")[2], (_Inert,), {}), name) for name in names]


def _refusal(path: Path, name: str) -> str:
    return (
        f"{path}: refused: it asks for {name}, which weights never need, and loading it could execute foreign code. "
        "Nothing was executed. Use a .safetensors file instead."
    )


def _require_plain(path: Path) -> None:
    """Refuse an archive with repeated, unknown or compressed members.

    torch stores members uncompressed; 1 MB deflated can unpack to gigabytes, and of two members of one name readers
    disagree which counts.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise ModelError(f"{path}: damaged or truncated ({_line(error)}). Download it again.") from None
    names = [member.filename for member in members]
    unknown = next((name for name in names if not _MEMBERS.fullmatch(name) or names.count(name) > 1), None)
    compressed = next((member.filename for member in members if member.compress_type != zipfile.ZIP_STORED), None)
    if unknown is not None or compressed is not None:
        member = f"unknown member {unknown[:60]!r}" if unknown is not None else f"compressed member {compressed!r}"
        raise ModelError(f"{path}: refused: torch did not write this archive ({member}). Use another file.")


def _tensors(content: Any, path: Path) -> dict[str, "Tensor"]:
    import torch

    while isinstance(content, dict):
        nested = next((content[key] for key in _NESTED if isinstance(content.get(key), dict)), None)
        if nested is None:
            break
        content = nested
    items = content.items() if isinstance(content, dict) else ()
    tensors = {str(name): value for name, value in items if isinstance(value, torch.Tensor)}
    if not tensors:
        raise ModelError(f"{path}: contains no tensors. Expected the weights of a network.")
    return tensors


def _line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0][:160] if text else type(error).__name__
