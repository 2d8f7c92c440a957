"""Find the functions and classes that a pickle names, without unpickling it.

torch's own check covers the archives of torch.save only. This one also covers older files, plain pickles, tar files and
files that end too early, and names what a pickle would call however the name is written.
"""

import pickletools
import re
import struct
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from io import SEEK_CUR, BytesIO
from pathlib import Path
from typing import IO, Any

_STREAM = 5
"""Consecutive pickles at the start of a file of torch before 1.6: magic number, version, system, content, storages."""

_LARGEST = 1 << 28
"""Bytes of an archive's member that are examined; the pickle of a checkpoint takes less than a megabyte."""

_NEEDED = re.compile(
    r"collections\.(OrderedDict|Counter)|_codecs\.encode|(builtins|__builtin__)\.(set|bytearray|complex)|"
    r"torch\.(cuda\.|sparse\.|cuda\.sparse\.)?\w*(Tensor|Storage)|torch\.storage\.(Untyped|Typed)Storage|"
    r"torch\.(Size|device|bool|(q?u?int|bits|b?float|complex)\d\w*|per_\w+)|torch\.nn\.parameter\.Parameter|"
    r"torch\._utils\._rebuild_\w+|torch\._tensor\._rebuild_from_type_v2|torch\.serialization\._get_layout"
)
"""What the pickle of plain tensors names. torch's weights_only loader has its own list, and applies it as well."""

HARMLESS = re.compile(
    r"(pytorch_lightning|lightning|lightning_fabric|lightning_utilities|omegaconf)\..+|argparse\.Namespace|"
    r"numpy\.(core|_core)\.multiarray\.(scalar|_reconstruct)|numpy\.(dtype|ndarray)|numpy\.dtypes\.\w+|"
    r"collections\.defaultdict|pathlib\.(Posix|Windows)?Path|pathlib\._local\.\w+|typing\.Any"
)
"""Globals that ordinary training checkpoints name besides tensors; they can be read as a class that does nothing."""

_ALIASES = {"posix": "os", "nt": "os", "__builtin__": "builtins", "copy_reg": "copyreg"}
"""Modules under the name that a pickle uses, and under the name that people know."""

_MARK = object()
_OPAQUE = object()  # any value but a string


def names(path: Path) -> list[str]:
    """Return what a pickled file names beyond plain tensors, as "module.name", in order and without repetition.

    A name that is computed while unpickling contains "?" for the unknown part, and a TorchScript archive names its
    first source file.

    Args:
        path: an archive of torch.save, a file of torch before 1.6, a tar file of torch before 0.2, or a pickle of any
            protocol. The names before a damaged part are returned.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        is_archive = file.read(2) == b"PK"
        file.seek(0)
        global_names = _in_archive(path) if is_archive else [*_in_stream(file), *_in_tar(path)]
    return [name for name in dict.fromkeys(global_names) if not _NEEDED.fullmatch(name)]


def foreign(path: Path) -> list[str]:
    """Return those of `names` that are not known to be harmless."""
    return [name for name in names(path) if not HARMLESS.fullmatch(name)]


def without_header(path: Path) -> list[str]:
    """Return what a file would call that lacks the first byte of a pickle, as protocols 0 and 1 do.

    Ordinary text can look like such a pickle, so a name counts only if the pickle is whole or the module is Python's.
    """
    with path.open("rb") as file:
        global_names = [name for name in dict.fromkeys(_in_stream(file)) if not _NEEDED.fullmatch(name)]
    whole = is_whole(path)
    return [name for name in global_names if re.fullmatch(r"[\w.]+", name) and (whole or _is_python(name))]


def known_as(name: str) -> str:
    """Return a name with the one that people know it by: "posix.system (os.system)"."""
    module, _, rest = name.partition(".")
    if "?" in name:
        return f"{name}, a name that it computes"
    return f"{name} ({_ALIASES[module]}.{rest})" if module in _ALIASES else name


def _is_python(name: str) -> bool:
    return name.partition(".")[0] in {*sys.stdlib_module_names, *_ALIASES}


def is_whole(path: Path) -> bool:
    """Return whether a file begins with a whole pickle, of any protocol."""
    try:
        with path.open("rb") as file:
            return sum(1 for _ in pickletools.genops(file)) > 1
    except Exception:  # pickletools raises ValueError, and others on damaged arguments
        return False


def _in_archive(path: Path) -> list[str]:
    global_names: list[str] = []
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                if re.fullmatch(r"[^/]+/code/.+\.py", member.filename):
                    global_names.insert(0, f"the TorchScript code in {member.filename}")
                if member.filename.endswith((".pkl", ".pickle")):
                    with archive.open(member) as file:
                        global_names.extend(_in_stream(BytesIO(file.read(_LARGEST)), 1))
    except Exception:  # zipfile raises many types on damaged archives; the loader reports those
        global_names.extend(_in_first_member(path))
    return global_names


def _in_first_member(path: Path) -> list[str]:
    """Return the names in the first member of an archive that lacks its directory; torch writes the pickle first."""
    with path.open("rb") as file:
        header = file.read(30)
        if len(header) == 30 and header[8:10] == b"\0\0":  # uncompressed
            name_length, extra_length = struct.unpack("<HH", header[26:30])
            file.seek(name_length + extra_length, SEEK_CUR)
            return list(_in_stream(file, 1))
    return []


def is_opcode(code: int) -> bool:
    """Return whether a byte is an opcode of any pickle protocol."""
    return any(opcode.code == chr(code) for opcode in pickletools.opcodes)


def is_tar(path: Path) -> bool:
    """Return whether a file is an uncompressed tar archive."""
    try:
        with tarfile.open(path, "r:"):
            return True
    except (tarfile.TarError, OSError, ValueError):
        return False


def _in_tar(path: Path) -> list[str]:
    global_names: list[str] = []
    with suppress(tarfile.TarError, OSError, ValueError), tarfile.open(path, "r:") as archive:
        for member in archive:
            file = archive.extractfile(member) if member.isfile() else None
            if file is not None:
                global_names.extend(_in_stream(BytesIO(file.read(_LARGEST))))
    return global_names


def _in_stream(file: IO[bytes], pickles: int = _STREAM) -> Iterator[str]:
    """Yield the names in consecutive pickles, up to the first damaged part."""
    try:
        for _ in range(pickles):
            yield from _in_pickle(file)
    except Exception:  # pickletools raises ValueError, and others on damaged arguments; the loader reports those
        return


def _in_pickle(file: IO[bytes]) -> Iterator[str]:
    """Yield the names in one pickle; stacks and memo are simulated, with all values but strings unknown."""
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    argument: Any
    for opcode, argument, _ in pickletools.genops(file):
        if opcode.name in ("GLOBAL", "INST"):
            yield str(argument).replace(" ", ".", 1)
        elif opcode.name == "STACK_GLOBAL":
            yield ".".join(part if isinstance(part, str) else "?" for part in ([_OPAQUE] * 2 + stack)[-2:])
        elif opcode.name.startswith("EXT"):
            yield f"copyreg.?{argument}"
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            memo[len(memo) if opcode.name == "MEMOIZE" else int(argument)] = stack[-1] if stack else _OPAQUE
        elif opcode.name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo.get(int(argument), _OPAQUE))
        elif opcode.name == "DUP":
            stack.extend(stack[-1:])
        else:
            _apply(opcode, argument, stack)


def _apply(opcode: pickletools.OpcodeInfo, argument: Any, stack: list[Any]) -> None:
    """Take an opcode's operands off the stack and push its results."""
    before = list(opcode.stack_before)
    if pickletools.markobject in before:
        while stack and stack.pop() is not _MARK:
            pass
        before = before[: before.index(pickletools.markobject)]
    if before:
        del stack[-len(before) :]
    for result in opcode.stack_after:
        is_text = isinstance(argument, str) and opcode.name.endswith(("STRING", "UNICODE", "UNICODE8"))
        stack.append(_MARK if result is pickletools.markobject else argument if is_text else _OPAQUE)
