"""What a pickle would call is found without unpickling it, in every kind of file that holds one."""

import io
import os
import pickle
import tarfile
import warnings
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from segkit.errors import ModelError
from trainer.checkpoints import pickles, safe_load

TENSORS = {"a.weight": torch.ones(2, 3)}


class Evil:
    """An object that runs a command when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("false",)


def saved(content: Any, protocol: int, zipped: bool) -> bytes:
    """Return a checkpoint as torch writes it."""
    buffer = io.BytesIO()
    torch.save(content, buffer, pickle_protocol=protocol, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


def tarred(**members: bytes) -> bytes:
    """Return a tar archive."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def zipped(name: str, content: bytes, compress: int = zipfile.ZIP_STORED) -> bytes:
    """Return a zip archive with one member."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compress) as archive:
        archive.writestr(name, content)
    return buffer.getvalue()


EVIL = {
    **{f"torch-{p}-{z}": saved({"state_dict": TENSORS, "x": Evil()}, p, z) for p in range(6) for z in (True, False)},
    **{f"plain-{protocol}": pickle.dumps(Evil(), protocol) for protocol in range(6)},
    "inst": b"(S'false'\nios\nsystem\n.",
    "inst with a header": b"\x80\x02(S'false'\nios\nsystem\n.",
    "obj": b"\x80\x02(cos\nsystem\nS'false'\no.",
    "stack global from the memo": b"\x80\x04\x8c\x02os\x94\x8c\x06system\x940h\x00h\x01\x93\x8c\x05false\x85R.",
    "cut short": pickle.dumps([1, Evil()], 2)[:-12],
    "cut short without a header": b"cos\nsystem\n(S'false'\ntR",
    "zip cut short": saved({"x": Evil(), "a": torch.ones(5000)}, 2, True)[:-3000],
    "compressed": zipped("a/data.pkl", pickle.dumps(Evil(), 2), zipfile.ZIP_DEFLATED),
    "another member": zipped("a/extra/hidden.pkl", pickle.dumps(Evil(), 4)),
    "tar": tarred(sys_info=pickle.dumps({}, 2), pickle=pickle.dumps(Evil(), 2)),
}


@pytest.mark.parametrize("ending", [".pth", ".safetensors"])
@pytest.mark.parametrize("flavour", EVIL)
def test_code_is_always_named(tmp_path: Path, flavour: str, ending: str) -> None:
    """Whatever the file's form and extension, the message names os.system; torch neither loads nor warns."""
    path = tmp_path / f"a{ending}"
    path.write_bytes(EVIL[flavour])

    with warnings.catch_warnings(action="error"), pytest.raises(ModelError) as refused:
        safe_load.read(path)

    assert "refused: it asks for" in str(refused.value)
    assert "os.system" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_name_that_is_computed_is_refused(tmp_path: Path) -> None:
    """A module or function that is not written as a string in the pickle is shown as unknown."""
    (tmp_path / "a.pth").write_bytes(b"\x80\x04cbuiltins\nset\n)R\x8c\x06system\x93)R.")
    with pytest.raises(ModelError, match=r"asks for \?\.system, a name that it computes"):
        safe_load.read(tmp_path / "a.pth")


@pytest.mark.filterwarnings("ignore:.*torch.jit")
def test_torchscript_is_called_code(tmp_path: Path) -> None:
    """An archive of torch.jit holds a program, whose source file is named."""
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), tmp_path / "a.pt")
    with pytest.raises(ModelError, match=r"the TorchScript code in .+\.py"):
        safe_load.read(tmp_path / "a.pt")


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("protocol", range(6))
def test_plain_weights_name_nothing_more(tmp_path: Path, protocol: int, zipped: bool) -> None:
    """Weights of every protocol are read without a warning, or the message says that the protocol is the reason."""
    path = tmp_path / "a.pth"
    path.write_bytes(saved({**TENSORS, "half": torch.nn.Parameter(torch.ones(2).half())}, protocol, zipped))

    assert pickles.names(path) == []
    with warnings.catch_warnings(action="error"):
        if protocol in (2, 3):
            assert set(safe_load.read(path)) == {"a.weight", "half"}
        else:
            with pytest.raises(ModelError, match="of a protocol that torch does not read safely"):
                safe_load.read(path)


@pytest.mark.parametrize("text", ["cat\nfoo\n", "hello there\ncos\nsystem\n", "(no pickle)", "I am."])
def test_text_is_not_called_code(tmp_path: Path, text: str) -> None:
    """Text whose first letters are opcodes is not a checkpoint, and holds no code."""
    (tmp_path / "a.pth").write_text(text)
    with pytest.raises(ModelError, match="its first bytes are not those of a checkpoint"):
        safe_load.read(tmp_path / "a.pth")


def test_a_tar_is_named(tmp_path: Path) -> None:
    """An archive without code, as torch before 0.2 wrote it, says what it is."""
    (tmp_path / "a.pth").write_bytes(tarred(sys_info=pickle.dumps({"little_endian": True}, 2)))
    with pytest.raises(ModelError, match="a tar file"):
        safe_load.read(tmp_path / "a.pth")


Names = st.text("abcdefghijklmnop_", min_size=1, max_size=8)


@given(Names, Names, st.lists(st.text(max_size=4), max_size=3), st.integers(0, 5))
def test_a_name_is_found_behind_other_values(module: str, name: str, others: list[str], protocol: int) -> None:
    """The stack and the memo are followed through any values before the name, in every protocol."""
    function = type(name, (), {"__module__": module, "__qualname__": name})
    found = list(pickles._in_pickle(io.BytesIO(_pickled([others, others, {"k": tuple(others)}, function], protocol))))
    assert found == [f"{module}.{name}"]


def _pickled(content: Any, protocol: int) -> bytes:
    """Pickle classes by name without importing them."""
    buffer = io.BytesIO()
    pickler = pickle._Pickler(buffer, protocol, fix_imports=False)

    def by_name(self: Any, kind: type, name: str | None = None) -> None:
        if protocol >= 4:
            self.save(kind.__module__)
            self.save(kind.__name__)
            self.write(pickle.STACK_GLOBAL)
        else:
            self.write(pickle.GLOBAL + f"{kind.__module__}\n{kind.__name__}\n".encode())
        self.memoize(kind)

    vars(pickler)["dispatch"] = {**pickler.dispatch, type: by_name}
    pickler.dump(content)
    return buffer.getvalue()
