"""Checkpoint files are read without running what they hold; bad ones are told in one line."""

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


def told(path: Path) -> str:
    """Return the one line with which a file is refused."""
    with pytest.raises(ModelError) as refused:
        safe_load.read(path)
    assert "\n" not in str(refused.value)
    assert str(path) in str(refused.value)
    return str(refused.value)


class Evil:
    """Runs a command when it is unpickled by somebody careless."""

    def __init__(self, touched: Path, function: Callable[..., Any] = os.system) -> None:
        self.touched, self.function = touched, function

    def __reduce__(self) -> tuple[Any, ...]:
        return self.function, (f"touch {self.touched}",)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("function", [os.system, eval, exec, __import__], ids=lambda each: each.__name__)
def test_code_in_a_pickle_is_refused_by_name_and_never_run(
    tmp_path: Path, function: Callable[..., Any], zipped: bool
) -> None:
    """The file is named, and what it asked for."""
    content = {"state_dict": TENSORS, "extra": Evil(tmp_path / "touched", function)}
    torch.save(content, tmp_path / "evil.ckpt", _use_new_zipfile_serialization=zipped)

    line = told(tmp_path / "evil.ckpt")

    assert "refused" in line
    assert function.__name__ in line
    assert not (tmp_path / "touched").exists()


def test_honest_training_checkpoints_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lightning's callbacks, numpy's numbers and parsed options beside the weights are no code; they are dropped."""
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

    found = safe_load.read(tmp_path / "a.ckpt")

    assert list(found) == list(TENSORS)
    assert all(torch.equal(found[name], TENSORS[name]) for name in TENSORS)


def test_safetensors_are_read_by_name(tmp_path: Path) -> None:
    """Tensors and metadata; a name that is not there is a KeyError, as in any mapping."""
    save_file(TENSORS, tmp_path / "a.safetensors", {"base": "x"})

    found = safe_load.read(tmp_path / "a.safetensors")

    assert found.metadata == {"base": "x"}
    assert all(torch.equal(found[name], TENSORS[name]) for name in TENSORS)
    assert len(found) == 2
    with pytest.raises(KeyError):
        found["c"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git-lfs pointer"),
        (b"<!DOCTYPE html><html>", "a web page"),
        (b'  <html lang="en">', "a web page"),
        (b'{"_class_name": "ControlNetModel"}', "a JSON text"),
        (b"hello, I am a checkpoint", "no checkpoint by its first bytes"),
        (b"PK\x03\x04 but no zip", "damaged or cut short"),
        (b"\x80\x02}q\x00.", "no tensors|damaged"),
        (b"\x80\x02\xff\xff", "damaged or cut short"),
        (b"\xff" * 8 + b"{", "damaged or cut short"),
        (b"\x08" + b"\0" * 7 + b'{"a":1} ', "damaged or cut short"),
    ],
)
def test_what_is_no_checkpoint_is_told(tmp_path: Path, content: bytes, expected: str) -> None:
    """Pointers, pages, texts and rubbish are called what they are."""
    import re

    (tmp_path / "a.pth").write_bytes(content)
    assert re.search(expected, told(tmp_path / "a.pth"))


@pytest.mark.parametrize("ending", [".pth", ".safetensors"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_file_that_was_cut_is_told(tmp_path: Path, ending: str, share: float) -> None:
    """At whatever place a download ended."""
    path = tmp_path / f"a{ending}"
    if ending == ".pth":
        torch.save({"a": torch.ones(5000)}, path)
    else:
        save_file({"a": torch.ones(5000)}, path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])

    assert "damaged or cut short" in told(path)


def rewritten(path: Path, change: Callable[[str, bytes], list[tuple[str, bytes]]], compress: int = 0) -> None:
    """Write an archive's members anew, changed."""
    with zipfile.ZipFile(path) as archive:
        members = [(name, archive.read(name)) for name in archive.namelist()]
    with zipfile.ZipFile(path, "w", compress) as archive:
        for name, data in members:
            for place, content in change(name, data):
                archive.writestr(place, content)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    ("change", "compress", "expected"),
    [
        (lambda name, data: [(name, data)], zipfile.ZIP_DEFLATED, "compressed member"),
        (lambda name, data: [(name, data)] * 2, 0, "strange member"),
        (lambda name, data: [(name, data), ("a/code.py", b"x")], 0, "strange member 'a/code.py'"),
        (lambda name, data: [(name, data[:-64] if "/data/0" in name else data)], 0, "damaged or cut short"),
    ],
    ids="compressed repeated unknown short".split(),
)
def test_an_archive_that_torch_did_not_write_is_refused(
    tmp_path: Path, change: Callable[[str, bytes], list[tuple[str, bytes]]], compress: int, expected: str
) -> None:
    """Small files that unpack to gigabytes, members that hide others, storages that are too short."""
    torch.save({"a": torch.ones(5000)}, tmp_path / "a.pth")
    rewritten(tmp_path / "a.pth", change, compress)

    assert expected in told(tmp_path / "a.pth")


@pytest.mark.parametrize("content", [{}, [], {"state_dict": {}}, {"epoch": 3}, torch.ones(3), "text"])
def test_a_pickle_without_weights_is_told(tmp_path: Path, content: Any) -> None:
    """Options and counters alone are no network."""
    torch.save(content, tmp_path / "a.pth")
    assert "no tensors" in told(tmp_path / "a.pth")


def test_a_plain_pickle_is_no_checkpoint(tmp_path: Path) -> None:
    """Python's own, which holds an object of a class."""
    (tmp_path / "a.pth").write_bytes(pickle.dumps(Evil(tmp_path / "touched"), protocol=2))
    assert "refused" in told(tmp_path / "a.pth")
    assert not (tmp_path / "touched").exists()


def test_folders_and_missing_files_are_told(tmp_path: Path) -> None:
    """By what they are."""
    assert "a folder" in told(tmp_path)
    assert "not there" in told(tmp_path / "b.pth")


def test_nothing_is_read_with_mmap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With mmap torch hands out neighbouring bytes as weights where a storage is short."""
    seen: list[Any] = []
    load = torch.load

    def watched(*arguments: Any, **named: Any) -> Any:
        seen.append((named["weights_only"], named["mmap"]))
        return load(*arguments, **named)

    monkeypatch.setattr(torch, "load", watched)
    buffer = io.BytesIO()
    torch.save(TENSORS, buffer)
    (tmp_path / "a.pth").write_bytes(buffer.getvalue())

    safe_load.read(tmp_path / "a.pth")

    assert seen == [(True, False)]
