"""Read untrusted checkpoint files: code in a pickle is never executed.

The content of a file, not its extension, tells its format. Safetensors are read lazily by name. Pickles are read by
torch's weights_only loader after the globals that they name and the archive's members were checked; never with mmap,
which accepts a storage that is too short and returns the neighbouring bytes as weights.
"""

import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from segkit.errors import ModelError
from trainer.checkpoints import folders, pickles, views

if TYPE_CHECKING:
    from torch import Tensor

_MEMBERS = re.compile(r"[^/]+/(data\.pkl|data/\d+|version|byteorder|\.data/serialization_id|\.format_version|"
                      r"\.storage_alignment)")  # fmt: skip
_PROTOCOL = (
    "a pickle of a protocol that torch does not read safely. Load it where it was made and save it again with "
    "torch.save(state_dict, FILE), or as .safetensors."
)
_NESTED = ("state_dict", "model_state_dict", "module", "model", "controlnet", "control_model")


_WRAPPERS = re.compile(r"(?<![^.])(_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
"""Parts of names that torch.compile, FSDP and activation checkpointing insert anywhere."""


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

    def renamed(self, names: Mapping[str, str]) -> "Tensors":
        """Return the same tensors under other names; those that are not mentioned are left out.

        Args:
            names: the present name of each tensor by its new name.
        """
        return Tensors(self.path, views.Renamed(self._tensors, names), self.metadata)


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
    if has_header(path):  # its first bytes can be those of a zip or a pickle
        return _safetensors(path)
    if first[:2] == b"PK" or first[:1] == b"\x80":
        return _pickle(path, archive=first[:2] == b"PK")
    if first[8:9] == b"{":
        return _safetensors(path)
    for start, description in _OTHER_FILES.items():
        if first.lstrip()[: len(start)].lower() == start:
            raise ModelError(f"{path}: {description}.")
    return _refuse_other(path)


def has_header(path: Path) -> bool:
    """Return whether a file is in the safetensors format: `read` reads its header, and values on access.

    Raises:
        ModelError: the file is missing, empty or cannot be read.
    """
    first = _first_bytes(path)
    return first[8:9] == b"{" and int.from_bytes(first[:8], "little") < path.stat().st_size


def read_folder(folder: Path) -> Tensors:
    """Open the weights in a diffusers or transformers folder of one network; see `weights_file`.

    Raises:
        ModelError: the folder contains no weights, shards are missing, or a file is unusable as for `read`.
    """
    shards = [read(file) for file in folders.weights_files(folder)]
    if len(shards) == 1:
        return shards[0]
    places = {name: shard for shard in shards for name in shard}
    return Tensors(shards[0].path, views.Sharded(places))


def weights_file(folder: Path) -> Path:
    """Return the weights of a folder of one network, or the first of their shards.

    The full weights are preferred to a variant such as fp16, then .safetensors to other files.

    Raises:
        ModelError: the folder contains no checkpoint, or shards are missing.
    """
    return folders.weights_files(folder)[0]


_OTHER_FILES = {
    b"version https://git-lfs": "a git-lfs pointer, not the file itself. Run: git lfs pull",
    b"<": "a web page, not a checkpoint. Download the file itself",
    b"{": "a JSON file, not a checkpoint. Use the file with the weights beside it",
    b"gguf": "a GGUF file, whose weights are quantised. Use the .safetensors file of the same network",
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
        lazy = views.Lazy(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(f"{path}: damaged or truncated ({views.first_line(error)}). Download it again.") from None
    return _checked(Tensors(path, lazy, lazy.metadata))


def _checked(tensors: Tensors) -> Tensors:
    """Refuse a file without a single value, and drop the names of wrappers such as torch.compile's."""
    if not any(tensor.numel() and not tensor.is_meta for tensor in tensors.values()):
        raise ModelError(f"{tensors.path}: contains no tensors. Expected the weights of a network.")
    names = {_WRAPPERS.sub("", name): name for name in tensors}
    if len(names) < len(tensors) or all(new == old for new, old in names.items()):  # ambiguous, or nothing to drop
        return tensors
    return tensors.renamed(names)


def _pickle(path: Path, archive: bool) -> Tensors:
    import torch

    named = pickles.names(path)
    _refuse_code(path, [name for name in named if not pickles.HARMLESS.fullmatch(name)])
    if archive:
        _require_plain(path)
    stubs: list[Any] = [(type(name.rpartition(".")[2], (_Inert,), {}), name) for name in named]
    try:
        # torch warns of every pickle protocol but 2, and judges a path by its extension, hence the open file
        with (
            torch.serialization.safe_globals(stubs), warnings.catch_warnings(action="ignore"), path.open("rb") as file,
        ):  # fmt: skip
            content = torch.load(file, map_location="cpu", weights_only=True, mmap=False)
    except Exception as error:  # UnpicklingError, RuntimeError, EOFError, OSError, KeyError ...
        raise ModelError(_unreadable(path, str(error), views.first_line(error))) from None
    return _checked(Tensors(path, _tensors(content, path)))


def _refuse_other(path: Path) -> NoReturn:
    """Refuse a file that begins like none of the formats: a tar, an old pickle, or no checkpoint at all."""
    _refuse_code(path, [*pickles.without_header(path), *(pickles.foreign(path) if pickles.is_tar(path) else ())])
    if pickles.is_tar(path):
        raise ModelError(
            f"{path}: a tar file, which torch before 0.2 wrote and other tools write. Unpack it, or load and save it "
            "with torch before you use it."
        )
    if pickles.is_whole(path):
        raise ModelError(f"{path}: {_PROTOCOL}")
    raise ModelError(f"{path}: its first bytes are not those of a checkpoint. Expected .safetensors, .pth or .ckpt.")


def _refuse_code(path: Path, names: list[str]) -> None:
    if names:
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        raise ModelError(_refusal(path, f"{pickles.known_as(names[0])}{more}"))


def _unreadable(path: Path, error: str, line: str) -> str:
    if named := re.search(r"GLOBAL ([\w.]+)", error):
        return _refusal(path, named[1])
    opcode = re.search(r"Unsupported operand (\d+)", error)
    if opcode and pickles.is_opcode(int(opcode[1])):
        return f"{path}: {_PROTOCOL}"
    return f"{path}: damaged or truncated ({line}). Download it again."


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
        raise ModelError(f"{path}: damaged or truncated ({views.first_line(error)}). Download it again.") from None
    names = [member.filename for member in members]
    unknown = next((name for name in names if not _MEMBERS.fullmatch(name) or names.count(name) > 1), None)
    compressed = next((member.filename for member in members if member.compress_type != zipfile.ZIP_STORED), None)
    if unknown is not None or compressed is not None:
        member = f"unknown member {unknown[:60]!r}" if unknown is not None else f"compressed member {compressed!r}"
        raise ModelError(f"{path}: refused: torch did not write this archive ({member}). Use another file.")


def _tensors(content: Any, path: Path) -> dict[str, "Tensor"]:
    import torch

    while isinstance(content, dict):
        nested = next((content[key] for key in _NESTED if _holds_tensors(content.get(key))), None)
        if nested is None:
            break
        content = nested
    items = content.items() if isinstance(content, dict) else ()
    tensors = {str(name): value for name, value in items if isinstance(value, torch.Tensor)}
    if not tensors:
        raise ModelError(f"{path}: contains no tensors. Expected the weights of a network.")
    return tensors


def _holds_tensors(content: Any) -> bool:
    import torch

    values = content.values() if isinstance(content, dict) else ()
    return any(isinstance(value, torch.Tensor) or _holds_tensors(value) for value in values)
