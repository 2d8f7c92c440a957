"""Components of a diffusers folder load from every form in which folders are published, to the same weights."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load, save_file

from segkit.errors import ModelError
from trainer.checkpoints.digest import weights_digest
from trainer.checkpoints.load import load_base

UNET = "unet/diffusion_pytorch_model.safetensors"
TEXT = "text_encoder/model.safetensors"
VAE = "vae/diffusion_pytorch_model.safetensors"


@pytest.fixture
def copy(base: Path, tmp_path: Path) -> Path:
    """A copy of the small base."""
    return Path(shutil.copytree(base, tmp_path / "copy"))


def digests(folder: Path) -> list[str]:
    """Return the hashes of a base's networks."""
    loaded = load_base(str(folder))
    return [weights_digest(loaded.parts[part]) for part in ("unet", "vae", "text_encoder")]


def tensors_of(path: Path) -> dict[str, torch.Tensor]:
    """Return a file's tensors; unlike load_file's they survive overwriting it."""
    return load(path.read_bytes())


def to_variant(path: Path) -> None:
    """Leave only an fp16 variant."""
    save_file({name: weight.half() for name, weight in tensors_of(path).items()}, path.with_suffix(".fp16.safetensors"))
    path.unlink()


def to_bin(path: Path) -> None:
    """Leave only a pickle."""
    name = "pytorch_model.bin" if path.parent.name == "text_encoder" else f"{path.stem}.bin"
    torch.save(tensors_of(path), path.with_name(name))
    path.unlink()


def to_shards(path: Path) -> None:
    """Leave only two shards and their index."""
    tensors = tensors_of(path)
    weight_map: dict[str, str] = {}
    for number in (1, 2):
        name = f"{path.stem}-{number:05}-of-00002.safetensors"
        part = dict(list(tensors.items())[number - 1 :: 2])
        save_file(part, path.with_name(name))
        weight_map |= dict.fromkeys(part, name)
    path.with_name(f"{path.name}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    path.unlink()


def add_variant(path: Path) -> None:
    """Put an fp16 variant beside the full file."""
    half = {name: weight.half() for name, weight in tensors_of(path).items()}
    save_file(half, path.with_suffix(".fp16.safetensors"))


def to_misnamed_pickle(path: Path) -> None:
    """Leave a pickle under the name of a .safetensors file."""
    torch.save(tensors_of(path), path)


def to_eight_bit(path: Path) -> None:
    """Leave fp8 weights."""
    save_file({name: weight.to(torch.float8_e4m3fn) for name, weight in tensors_of(path).items()}, path)


@pytest.mark.parametrize("change", [to_bin, to_shards, add_variant, to_misnamed_pickle])
def test_the_form_of_the_files_does_not_matter(base: Path, copy: Path, change: Callable[[Path], None]) -> None:
    """Pickles, shards and a variant beside the full weights give the networks of the plain folder, bit for bit."""
    for file in (UNET, TEXT, VAE):
        change(copy / file)
    assert digests(copy) == digests(base)


@pytest.mark.parametrize(("change", "dtype"), [(to_variant, torch.float16), (to_eight_bit, torch.float8_e4m3fn)])
def test_smaller_precisions_are_exact(
    base: Path, copy: Path, change: Callable[[Path], None], dtype: torch.dtype
) -> None:
    """A variant in fp16, or weights in fp8, become equal fp32 weights."""
    for file in (UNET, TEXT, VAE):
        change(copy / file)
    rounded = load_base(str(copy)).unet.state_dict()
    for name, weight in load_base(str(base)).unet.state_dict().items():
        assert torch.equal(rounded[name], weight.to(dtype).float())


def test_old_names_of_attention_are_read(base: Path, copy: Path) -> None:
    """VAEs that diffusers wrote before 0.12 call the projections query, key, value and proj_attn."""
    old = {".to_q.": ".query.", ".to_k.": ".key.", ".to_v.": ".value.", ".to_out.0.": ".proj_attn."}

    def renamed(name: str) -> str:
        for today, before in old.items():
            name = name.replace(today, before)
        return name

    tensors = tensors_of(copy / VAE)
    assert any(renamed(name) != name for name in tensors)
    save_file({renamed(name): weight for name, weight in tensors.items()}, copy / VAE)
    assert digests(copy) == digests(base)


def test_text_encoders_of_both_namings_are_read(base: Path, copy: Path) -> None:
    """Version 5 of transformers dropped the prefix text_model. and the buffer position_ids."""
    tensors = {f"text_model.{name.removeprefix('text_model.')}": w for name, w in tensors_of(copy / TEXT).items()}
    save_file(tensors | {"text_model.embeddings.position_ids": torch.arange(77)[None]}, copy / TEXT)
    assert digests(copy) == digests(base)


def test_no_weight_is_drawn_at_random(base: Path) -> None:
    """Loading leaves the global random state alone."""
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    load_base(str(base))
    assert torch.equal(torch.random.get_rng_state(), before)


def test_weights_do_not_depend_on_the_file_any_more(copy: Path) -> None:
    """A file that is overwritten in place after loading does not change the network."""
    loaded = load_base(str(copy))
    before = weights_digest(loaded.unet)
    with (copy / UNET).open("r+b") as file:
        file.seek(0, 2)
        size = file.tell()
        file.seek(size // 2)
        file.write(b"\0" * (size // 4))
    assert weights_digest(loaded.unet) == before


def edited(folder: Path, part: str, **entries: Any) -> None:
    """Change entries of a component's configuration."""
    path = folder / part / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"in_channels": 9}, r"made for inpainting \(9 input channels\)"),
        ({"in_channels": 5}, r"made for depth-to-image \(5 input channels\)"),
        ({"in_channels": 8}, r"made for InstructPix2Pix \(8 input channels\)"),
        ({"in_channels": 7, "num_class_embeds": 1000}, r"made for upscaling \(7 input channels\)"),
        ({"in_channels": 16}, r"made for another task \(16 input channels\)"),
        ({"class_embed_type": "projection"}, "made for unCLIP"),
    ],
)
def test_a_base_for_another_task_is_refused_by_name(copy: Path, entries: dict[str, Any], message: str) -> None:
    """The configuration tells before any weight is read, and the message says what is needed."""
    edited(copy, "unet", **entries)
    with pytest.raises(ModelError, match=message) as refused:
        load_base(str(copy))
    assert "Expected" in str(refused.value) or "segkit needs a text-to-image base" in str(refused.value)


@pytest.mark.parametrize(
    ("value", "message"), [(0.0, "zero or of a single value"), (0.25, "zero or of a single value")]
)
def test_a_layer_of_one_value_is_refused(copy: Path, value: float, message: str) -> None:
    """A base with a layer that no training leaves is refused with the layer's name."""
    tensors = tensors_of(copy / UNET)
    tensors["conv_in.weight"] = torch.full_like(tensors["conv_in.weight"], value)
    save_file(tensors, copy / UNET)
    with pytest.raises(ModelError, match=rf"1 weight is {message}.*conv_in\.weight"):
        load_base(str(copy))


def test_another_component_is_refused(copy: Path) -> None:
    """The class in the configuration must be the expected one."""
    edited(copy, "vae", _class_name="AutoencoderTiny")
    with pytest.raises(ModelError, match="contains AutoencoderTiny; expected AutoencoderKL"):
        load_base(str(copy))


def test_code_in_a_folder_is_called_that(copy: Path) -> None:
    """A pickle that holds code is refused by the name of what it would call, in folders as well."""
    (copy / UNET).write_bytes(b"\x80\x02cos\nsystem\nX\x05\x00\x00\x00false\x85R.")
    with pytest.raises(ModelError, match=r"refused: it asks for os\.system"):
        load_base(str(copy))
