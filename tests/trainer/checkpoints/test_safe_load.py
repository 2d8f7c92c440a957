"""Checkpoint files are read without executing code in them; unusable ones are refused in one line."""

import argparse
import io
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from segkit.errors import ModelError
from trainer.checkpoints import safe_load

TENSORS = {"a.weight": torch.arange(6.0).reshape(2, 3), "b": torch.ones(2, dtype=torch.float16)}


def refusal(path: Path) -> str:
    """Return the one-line message with which a file is refused."""
    with pytest.raises(ModelError) as refused:
        safe_load.read(path)
    assert "\n" not in str(refused.value)
    assert str(path) in str(refused.value)
    return str(refused.value)


class Evil:
    """An object that runs a command when it is unpickled."""

    def __init__(self, touched: Path, function: Callable[..., Any] = os.system) -> None:
        self.touched, self.function = touched, function

    def __reduce__(self) -> tuple[Any, ...]:
        return self.function, (f"touch {self.touched}",)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("function", [os.system, eval, exec, __import__], ids=lambda function: function.__name__)
def test_code_in_a_pickle_is_refused_by_name_and_never_run(
    tmp_path: Path, function: Callable[..., Any], zipped: bool
) -> None:
    """The message names the file and the function that it asks for."""
    content = {"state_dict": TENSORS, "extra": Evil(tmp_path / "touched", function)}
    torch.save(content, tmp_path / "evil.ckpt", _use_new_zipfile_serialization=zipped)

    line = refusal(tmp_path / "evil.ckpt")

    assert "refused" in line
    assert function.__name__ in line
    assert not (tmp_path / "touched").exists()


def test_ordinary_training_checkpoints_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lightning's callbacks, NumPy scalars and parsed options beside the weights are dropped without being executed."""
    import sys
    import types

    names = ["pytorch_lightning", "pytorch_lightning.callbacks", "pytorch_lightning.callbacks.model_checkpoint"]
    for name in names:
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    kind = type("ModelCheckpoint", (), {"__module__": names[2], "__qualname__": "ModelCheckpoint"})
    monkeypatch.setattr(sys.modules[names[2]], "ModelCheckpoint", kind, raising=False)
    callback = kind()
    callback.best = 3
    content = {
        "state_dict": TENSORS,
        "callbacks": {kind: {"best": np.float64(0.5)}, "other": callback},
        "hyper_parameters": argparse.Namespace(lr=1e-5),
        "array": np.ones(3),
    }
    torch.save(content, tmp_path / "a.ckpt")
    for name in names:
        monkeypatch.delitem(sys.modules, name)

    tensors = safe_load.read(tmp_path / "a.ckpt")

    assert list(tensors) == list(TENSORS)
    assert all(torch.equal(tensors[name], TENSORS[name]) for name in TENSORS)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("name", ["a.safetensors", "a.pth", "a", "a.bin"])
def test_the_content_decides_and_not_the_extension(tmp_path: Path, name: str, zipped: bool) -> None:
    """A pickle called .safetensors is read as a pickle, and safetensors under any name as safetensors."""
    torch.save(TENSORS, tmp_path / name, _use_new_zipfile_serialization=zipped)
    assert torch.equal(safe_load.read(tmp_path / name)["a.weight"], TENSORS["a.weight"])
    (tmp_path / name).unlink()
    save_file(TENSORS, tmp_path / name)
    assert torch.equal(safe_load.read(tmp_path / name)["a.weight"], TENSORS["a.weight"])


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("_orig_mod.a.weight", "a.weight"),
        ("block._orig_mod.conv.weight", "block.conv.weight"),
        ("_fsdp_wrapped_module.a._checkpoint_wrapped_module.b", "a.b"),
        ("my_orig_mod.a", "my_orig_mod.a"),
    ],
)
def test_names_of_wrappers_are_dropped(tmp_path: Path, name: str, shown: str) -> None:
    """torch.compile, FSDP and activation checkpointing leave their names anywhere; a part of a word is none."""
    save_file({name: torch.ones(2), "other": torch.ones(1)}, tmp_path / "a.safetensors")
    assert set(safe_load.read(tmp_path / "a.safetensors")) == {shown, "other"}


@pytest.mark.parametrize("size", [0x80, 0x4B50], ids=["pickle", "zip"])
def test_the_size_of_a_header_is_no_magic_number(tmp_path: Path, size: int) -> None:
    """The first bytes of safetensors, the header's size, can be those of a pickle or an archive."""
    header = b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'.ljust(size)
    (tmp_path / "a.safetensors").write_bytes(size.to_bytes(8, "little") + header + b"\0\0\x80\x3f")
    assert float(safe_load.read(tmp_path / "a.safetensors")["a"]) == 1


def test_ambiguous_names_are_left_alone(tmp_path: Path) -> None:
    """If two tensors would get one name, none is renamed."""
    save_file({"_orig_mod.a": torch.ones(2), "a": torch.ones(1)}, tmp_path / "a.safetensors")
    assert set(safe_load.read(tmp_path / "a.safetensors")) == {"_orig_mod.a", "a"}


@pytest.mark.parametrize("tensors", [{}, {"a": torch.ones(0)}])
def test_safetensors_without_values_are_refused(tmp_path: Path, tensors: dict[str, torch.Tensor]) -> None:
    """A file with a header only is not a network."""
    save_file(tensors, tmp_path / "a.safetensors")
    assert "contains no tensors" in refusal(tmp_path / "a.safetensors")


def test_weights_without_values_are_refused(tmp_path: Path) -> None:
    """Tensors on the meta device have shapes and nothing else."""
    torch.save({"a": torch.ones(2, device="meta")}, tmp_path / "a.pth")
    assert "contains no tensors" in refusal(tmp_path / "a.pth")


def test_safetensors_are_read_by_name(tmp_path: Path) -> None:
    """Tensors and metadata are available; an absent name is a KeyError, as in any mapping."""
    save_file(TENSORS, tmp_path / "a.safetensors", {"base": "x"})

    tensors = safe_load.read(tmp_path / "a.safetensors")

    assert tensors.metadata == {"base": "x"}
    assert all(torch.equal(tensors[name], TENSORS[name]) for name in TENSORS)
    assert len(tensors) == 2
    with pytest.raises(KeyError):
        tensors["c"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git-lfs pointer"),
        (b"<!DOCTYPE html><html>", "a web page"),
        (b'  <html lang="en">', "a web page"),
        (b'{"_class_name": "ControlNetModel"}', "a JSON file"),
        (b"GGUF\x03\0\0\0", "a GGUF file"),
        (b"hello, I am a checkpoint", "its first bytes are not those of a checkpoint"),
        (b"PK\x03\x04 but no zip", "damaged or truncated"),
        (b"\x80\x02}q\x00.", "no tensors|damaged"),
        (b"\x80\x02\xff\xff", "damaged or truncated"),
        (b"\xff" * 8 + b"{", "damaged or truncated"),
        (b"\x08" + b"\0" * 7 + b'{"a":1} ', "damaged or truncated"),
    ],
)
def test_other_files_are_identified(tmp_path: Path, content: bytes, expected: str) -> None:
    """Pointers, web pages, text and rubbish are refused with a description of the file."""
    import re

    (tmp_path / "a.pth").write_bytes(content)
    assert re.search(expected, refusal(tmp_path / "a.pth"))


@pytest.mark.parametrize("ending", [".pth", ".safetensors"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused(tmp_path: Path, ending: str, share: float) -> None:
    """An interrupted download is recognised wherever it ended."""
    path = tmp_path / f"a{ending}"
    if ending == ".pth":
        torch.save({"a": torch.ones(5000)}, path)
    else:
        save_file({"a": torch.ones(5000)}, path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])

    assert "damaged or truncated" in refusal(path)


def rewritten(path: Path, change: Callable[[str, bytes], list[tuple[str, bytes]]], compress: int = 0) -> None:
    """Rewrite an archive with changed members."""
    with zipfile.ZipFile(path) as archive:
        members = [(name, archive.read(name)) for name in archive.namelist()]
    with zipfile.ZipFile(path, "w", compress) as archive:
        for name, data in members:
            for new_name, content in change(name, data):
                archive.writestr(new_name, content)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("change", "compress", "expected"),
    [
        (lambda name, data: [(name, data)], zipfile.ZIP_DEFLATED, "compressed member"),
        (lambda name, data: [(name, data)] * 2, 0, "unknown member"),
        (lambda name, data: [(name, data), ("a/code.py", b"x")], 0, "unknown member 'a/code.py'"),
        (lambda name, data: [(name, data[:-64] if "/data/0" in name else data)], 0, "damaged or truncated"),
    ],
    ids="compressed repeated unknown short".split(),
)
def test_an_archive_that_torch_did_not_write_is_refused(
    tmp_path: Path, change: Callable[[str, bytes], list[tuple[str, bytes]]], compress: int, expected: str
) -> None:
    """Compressed, repeated, unknown and truncated members are refused."""
    torch.save({"a": torch.ones(5000)}, tmp_path / "a.pth")
    rewritten(tmp_path / "a.pth", change, compress)

    assert expected in refusal(tmp_path / "a.pth")


@pytest.mark.parametrize("content", [{}, [], {"state_dict": {}}, {"epoch": 3}, torch.ones(3), "text"])
def test_a_pickle_without_weights_is_refused(tmp_path: Path, content: Any) -> None:
    """A file with options and counters only is not a network."""
    torch.save(content, tmp_path / "a.pth")
    assert "no tensors" in refusal(tmp_path / "a.pth")


def test_a_plain_pickle_is_refused(tmp_path: Path) -> None:
    """A pickle that torch did not write is refused and its objects are not created."""
    (tmp_path / "a.pth").write_bytes(pickle.dumps(Evil(tmp_path / "touched"), protocol=2))
    assert "refused" in refusal(tmp_path / "a.pth")
    assert not (tmp_path / "touched").exists()


def test_folders_and_missing_files_are_refused(tmp_path: Path) -> None:
    """The message says that the path is a folder or does not exist."""
    assert "a folder" in refusal(tmp_path)
    assert "does not exist" in refusal(tmp_path / "b.pth")


def test_nothing_is_read_with_mmap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With mmap torch returns neighbouring bytes as weights where a storage is too short."""
    calls: list[Any] = []
    load = torch.load

    def recording(*arguments: Any, **named: Any) -> Any:
        calls.append((named["weights_only"], named["mmap"]))
        return load(*arguments, **named)

    monkeypatch.setattr(torch, "load", recording)
    buffer = io.BytesIO()
    torch.save(TENSORS, buffer)
    (tmp_path / "a.pth").write_bytes(buffer.getvalue())

    safe_load.read(tmp_path / "a.pth")

    assert calls == [(True, False)]
