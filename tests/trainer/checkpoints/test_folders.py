"""The right file of a diffusers folder is read: full weights before variants, shards whole or not at all."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from segkit.errors import ModelError
from trainer.checkpoints import folders, safe_load

STEM = "diffusion_pytorch_model"


def shard(folder: Path, names: list[str], index: str = "") -> None:
    """Write one tensor per shard, and an index of them."""
    for place, name in enumerate(names):
        save_file({f"w{place}": torch.full((2,), float(place))}, folder / name)
    if index:
        weight_map = {f"w{place}": name for place, name in enumerate(names)}
        (folder / index).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


@pytest.mark.parametrize(
    ("present", "chosen"),
    [
        ([f"{STEM}.fp16.safetensors"], f"{STEM}.fp16.safetensors"),
        ([f"{STEM}.fp16.safetensors", f"{STEM}.safetensors"], f"{STEM}.safetensors"),
        (["model.fp16.safetensors", "model.safetensors"], "model.safetensors"),
        ([f"{STEM}.fp16.safetensors", f"{STEM}.bin"], f"{STEM}.bin"),
        ([f"{STEM}.bin", f"{STEM}.safetensors"], f"{STEM}.safetensors"),
        (["pytorch_model.bin"], "pytorch_model.bin"),
        ([f"{STEM}.non_ema.safetensors", f"{STEM}.fp16.safetensors"], f"{STEM}.fp16.safetensors"),
        (["a-lora.safetensors", f"{STEM}.fp16.safetensors"], f"{STEM}.fp16.safetensors"),
        (["b.pth", "c.safetensors"], "c.safetensors"),
        ([f"._{STEM}.safetensors", f"{STEM}.fp16.bin"], f"{STEM}.fp16.bin"),
    ],
)
def test_the_full_weights_are_preferred(tmp_path: Path, present: list[str], chosen: str) -> None:
    """Full weights win over a variant in any format, .safetensors over pickles, known names over others."""
    for name in present:
        (tmp_path / name).write_bytes(b"x")
    assert folders.weights_files(tmp_path) == [tmp_path / chosen]
    assert safe_load.weights_file(tmp_path) == tmp_path / chosen


NUMBERED = [f"{STEM}-{number:05}-of-00003.safetensors" for number in (1, 2, 3)]


@pytest.mark.parametrize(
    ("names", "index"),
    [
        (NUMBERED, f"{STEM}.safetensors.index.json"),
        (NUMBERED, ""),
        (["first.safetensors", "second.safetensors"], f"{STEM}.safetensors.index.json"),
        ([f"{STEM}.fp16-{number:05}-of-00002.safetensors" for number in (1, 2)],
         f"{STEM}.safetensors.index.fp16.json"),
        ([f"model-{number:05}-of-00002.fp16.safetensors" for number in (1, 2)], ""),
    ],
)  # fmt: skip
def test_shards_are_read_as_one(tmp_path: Path, names: list[str], index: str) -> None:
    """With an index or by their numbers, all shards are read."""
    shard(tmp_path, names, index)

    tensors = safe_load.read_folder(tmp_path)

    assert set(tensors) == {f"w{place}" for place in range(len(names))}
    assert all(float(tensors[f"w{place}"][0]) == place for place in range(len(names)))


def test_full_shards_are_preferred_to_a_variant(tmp_path: Path) -> None:
    """A variant in one file does not replace full weights in shards, and one full file replaces its shards."""
    shard(tmp_path, NUMBERED, f"{STEM}.safetensors.index.json")
    save_file({"half": torch.ones(2).half()}, tmp_path / f"{STEM}.fp16.safetensors")
    assert set(safe_load.read_folder(tmp_path)) == {"w0", "w1", "w2"}

    save_file({"whole": torch.ones(2)}, tmp_path / f"{STEM}.safetensors")
    assert set(safe_load.read_folder(tmp_path)) == {"whole"}


@pytest.mark.parametrize("index", [f"{STEM}.safetensors.index.json", ""])
def test_a_missing_shard_is_named(tmp_path: Path, index: str) -> None:
    """An incomplete download is refused with the missing file, even if a variant is complete."""
    shard(tmp_path, NUMBERED, index)
    (tmp_path / NUMBERED[1]).unlink()
    save_file({"half": torch.ones(2).half()}, tmp_path / f"{STEM}.fp16.safetensors")

    with pytest.raises(ModelError, match=f"1 of 3 shards are missing, such as {NUMBERED[1]}"):
        safe_load.read_folder(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "damaged"),
        ("[]", "damaged"),
        ('{"weight_map": {}}', "expected the names of files in the same folder"),
        ('{"weight_map": {"a": "../secret.safetensors"}}', "expected the names of files in the same folder"),
        ('{"weight_map": {"a": 3}}', "expected the names of files in the same folder"),
    ],
)
def test_a_damaged_index_is_refused(tmp_path: Path, content: str, message: str) -> None:
    """An index names files of its own folder only."""
    (tmp_path / f"{STEM}.safetensors.index.json").write_text(content)
    with pytest.raises(ModelError, match=message):
        folders.weights_files(tmp_path)


def test_a_folder_without_weights_is_refused(tmp_path: Path) -> None:
    """The message gives the name of a file that would do."""
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelError, match=r"contains no weights\. Expected a file such as"):
        folders.weights_files(tmp_path)
