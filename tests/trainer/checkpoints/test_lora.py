"""LoRAs change the base's weights by weight * alpha / rank * B A, computed here by hand; others are refused."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from segkit.errors import ModelError, SettingError
from tests.trainer import single_file as layout
from trainer.checkpoints import identify, load, lora, safe_load
from trainer.checkpoints.load import Base
from trainer.settings import Lora

RANK, WEIGHT, ALPHA = 2, 0.8, 3.0

ATTENTION = "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q"
OUTPUT = "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_out.0"
CONVOLUTION = "up_blocks.1.resnets.1.conv2"
TEXT = "encoder.layers.1.mlp.fc1"


@pytest.fixture(params=["SD1", "SDXL"])
def loaded(request: pytest.FixtureRequest) -> Base:
    """A small base of each family, new for each test."""
    return load.load_base(str(request.getfixturevalue("base" if request.param == "SD1" else "sdxl")))


def layers(base: Base) -> dict[str, Any]:
    """Return the layers that the tests change, by the name of their network and their own."""
    networks = {"unet": base.unet}
    networks |= {part.folder: net for part, net in zip(base.family.text_encoders, base.text_encoders, strict=True)}
    modules = {network: dict(networks[network].named_modules()) for network in networks}
    changed = {f"unet.{name}": modules["unet"][name] for name in (ATTENTION, OUTPUT, CONVOLUTION)}
    for folder in (network for network in networks if network != "unet"):
        changed[f"{folder}.{TEXT}"] = modules[folder].get(TEXT) or modules[folder][f"text_model.{TEXT}"]
    return changed


def factors(layer: Any, seed: int) -> tuple[Tensor, Tensor]:
    """Return random A and B for a layer: matrices, or convolutions of which B has kernels of 1 x 1."""
    generator = torch.Generator().manual_seed(seed)
    rows, columns, *kernel = layer.weight.shape
    ones = [1] * len(kernel)
    return (
        torch.randn(RANK, columns, *kernel, generator=generator) * 0.1,
        torch.randn(rows, RANK, *ones, generator=generator) * 0.1,
    )


def kohya(name: str, base: Base, prefix: str = "text_model_") -> str:
    """Return a layer's name in kohya's files: of SDXL's UNet by ldm's names, of others by diffusers'."""
    network, _, rest = name.partition(".")
    if network != "unet":
        number = {"text_encoder": "1", "text_encoder_2": "2"}[network] if len(base.text_encoders) > 1 else ""
        return f"lora_te{number}_{prefix}{rest.replace('.', '_')}"
    if base.family.name == "SDXL":
        rest = _ldm(base, rest)
    return f"lora_unet_{rest.replace('.', '_')}"


def _ldm(base: Base, name: str) -> str:
    """Return ldm's name of a UNet's layer: that of the weight in the same memory."""
    weights = base.unet.state_dict()
    in_file = layout.ldm_unet(base.unet, "")
    pointer = weights[f"{name}.weight"].data_ptr()
    return next(key for key, weight in in_file.items() if weight.data_ptr() == pointer).removesuffix(".weight")


def written(base: Base, style: str) -> tuple[dict[str, Tensor], dict[str, str], dict[str, Tensor]]:
    """Return a LoRA's tensors and metadata in a layout, and what each layer's weight becomes."""
    state: dict[str, Tensor] = {}
    expected, alphas = {}, {}
    for seed, (name, layer) in enumerate(layers(base).items()):
        down, up = factors(layer, seed)
        scale = 1.0
        if style.startswith("kohya"):
            key = kohya(name, base, "" if style == "kohya without text_model" else "text_model_")
            state |= {f"{key}.lora_down.weight": down, f"{key}.lora_up.weight": up, f"{key}.alpha": torch.tensor(3)}
            scale = ALPHA / RANK
        elif style == "old diffusers" and ".attn1." in name:
            key = name.replace("attn1.", "attn1.processor.").removesuffix(".0")
            state |= {f"{key}_lora.down.weight": down, f"{key}_lora.up.weight": up}
        elif style == "old diffusers":
            middle = "lora" if name.startswith("unet.") else "lora_linear_layer"
            state |= {f"{name}.{middle}.down.weight": down, f"{name}.{middle}.up.weight": up}
        else:
            state |= {f"{name}.lora_A.weight": down, f"{name}.lora_B.weight": up}
            alphas[f"{name.partition('.')[0]}.lora_alpha"] = ALPHA
            scale = ALPHA / RANK if style == "diffusers" else 1.0
        flat = up.reshape(len(up), RANK) @ down.reshape(RANK, -1)
        expected[name] = layer.weight.detach() + WEIGHT * scale * flat.reshape(layer.weight.shape)
    metadata = {"lora_adapter_metadata": json.dumps(alphas)} if style == "diffusers" else {}
    return state, metadata, expected


@pytest.mark.parametrize("style", ["kohya", "kohya without text_model", "diffusers", "PEFT", "old diffusers"])
def test_weights_change_as_computed_by_hand(loaded: Base, tmp_path: Path, style: str) -> None:
    """Linear layers and convolutions of UNet and text encoders change, and nothing else does."""
    state, metadata, expected = written(loaded, style)
    save_file(state, tmp_path / "a.safetensors", metadata)
    assert identify.identify(safe_load.read(tmp_path / "a.safetensors")).kind == "lora"
    before = {name: weight.clone() for name, weight in loaded.unet.state_dict().items()}

    lora.merge(loaded, [Lora.read(f"{tmp_path / 'a.safetensors'}:{WEIGHT}")])

    for name, layer in layers(loaded).items():
        torch.testing.assert_close(layer.weight.detach(), expected[name], rtol=1e-6, atol=1e-7)
    changed = {name for name, weight in loaded.unet.state_dict().items() if not torch.equal(weight, before[name])}
    assert changed == {f"{name}.weight" for name in (ATTENTION, OUTPUT, CONVOLUTION)}


def test_two_loras_add_up_and_one_can_be_subtracted(base: Path, tmp_path: Path) -> None:
    """Merging with weight 1 and again with -1 restores the base up to rounding."""
    loaded = load.load_base(str(base))
    state, _, _ = written(loaded, "kohya")
    save_file(state, tmp_path / "a.safetensors")
    before = layers(loaded)[f"unet.{ATTENTION}"].weight.detach().clone()

    lora.merge(loaded, [Lora(tmp_path / "a.safetensors", weight) for weight in (1.0, -1.0)])

    torch.testing.assert_close(layers(loaded)[f"unet.{ATTENTION}"].weight.detach(), before, rtol=0, atol=1e-6)


KEY = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k"


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({f"{KEY}.lora_down.weight": (4, 2048), f"{KEY}.lora_up.weight": (64, 4)}, "made for SDXL, .* is of SD1"),
        ({f"{KEY}.lora_down.weight": (4, 64)}, f"{KEY} lacks a factor"),
        ({f"{KEY}.lora_down.weight": (4, 65), f"{KEY}.lora_up.weight": (64, 4)}, "which do not fit the base's"),
        (
            {"lora_unet_x.lora_down.weight": (4, 4), "lora_unet_x.lora_up.weight": (4, 4)},
            "1 layer of 1 not in the base",
        ),
        ({f"{KEY}.lora_down.weight": (4, 64), f"{KEY}.dora_scale": (64,)}, "dora_scale is not part of a plain LoRA"),
        ({f"{KEY}.hada_w1_a": (4, 64)}, "a LyCORIS network .* Expected a LoRA"),
        ({"zero_convs.0.0.weight": (4, 64)}, "This is a ControlNet, .* Expected a LoRA"),
    ],
)
def test_what_does_not_fit_is_refused(base: Path, tmp_path: Path, state: dict[str, Any], message: str) -> None:
    """One line says what the file is or lacks; the base of another family is named."""
    save_file({name: torch.randn(shape) for name, shape in state.items()}, tmp_path / "a.safetensors")
    with pytest.raises(ModelError, match=message) as refused:
        lora.merge(load.load_base(str(base)), [Lora(tmp_path / "a.safetensors", 1.0)])
    assert "\n" not in str(refused.value)


def test_a_broken_value_is_refused(base: Path, tmp_path: Path) -> None:
    """A LoRA with NaN would spoil the base silently."""
    state = {f"{KEY}.lora_down.weight": torch.full((4, 64), torch.nan), f"{KEY}.lora_up.weight": torch.ones(64, 4)}
    save_file(state, tmp_path / "a.safetensors")
    with pytest.raises(ModelError, match="1 tensor NaN or infinite"):
        lora.merge(load.load_base(str(base)), [Lora(tmp_path / "a.safetensors", 1.0)])


@pytest.mark.parametrize(
    ("text", "path", "weight"),
    [
        ("a.safetensors", "a.safetensors", 1.0),
        ("a.safetensors:0.5", "a.safetensors", 0.5),
        ("c:a.safetensors:-1", "c:a.safetensors", -1.0),
        ("c:a.safetensors", "c:a.safetensors", 1.0),
    ],
)
def test_files_and_weights_are_told_apart(text: str, path: str, weight: float) -> None:
    """The weight follows the last colon, if what follows it is a number."""
    assert Lora.read(text) == Lora(Path(path), weight)


@pytest.mark.parametrize("text", ["a.ckpt", "a.safetensors:", "a.pt:0.5", ""])
def test_other_files_are_refused(text: str) -> None:
    """Pickles are no LoRAs here."""
    with pytest.raises(SettingError, match=r"FILE\.safetensors:WEIGHT"):
        Lora.read(text)


@pytest.mark.parametrize("weight", ["1e9", "-11", "nan", "inf"])
def test_a_weight_that_drowns_the_base_is_refused(weight: str) -> None:
    """It is a slip of the keyboard, and the picture would be noise."""
    with pytest.raises(SettingError, match="expected a weight from -10 to 10, such as"):
        Lora.read(f"a.safetensors:{weight}")
    assert Lora.read("a.safetensors:-10").weight == -10
