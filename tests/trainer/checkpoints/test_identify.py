"""Checkpoints are identified by names and shapes, and faults of their tensors are found."""

import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from segkit.errors import ModelError
from trainer.checkpoints import identify, safe_load, soundness
from trainer.checkpoints.identify import Identity
from trainer.checkpoints.soundness import Faults

UNET = "model.diffusion_model.input_blocks.0.0.weight"
ATTENTION = "input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"


def saved(folder: Path, tensors: dict[str, torch.Tensor]) -> safe_load.Tensors:
    """Write a checkpoint and read it."""
    save_file(tensors, folder / "a.safetensors")
    return safe_load.read(folder / "a.safetensors")


def identity(folder: Path, *names: str, **tensors: torch.Tensor) -> Identity:
    """Identify a checkpoint with these tensors."""
    return identify.identify(saved(folder, {name: torch.ones(1, 4) for name in names} | tensors))


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["zero_convs.0.0.weight"], ("controlnet", "ldm", "")),
        (["control_model.zero_convs.0.0.weight"], ("controlnet", "ldm", "control_model.")),
        (["module.control_model.zero_convs.0.0.weight"], ("controlnet", "ldm", "module.control_model.")),
        (["model.control_model.zero_convs.0.0.weight"], ("controlnet", "ldm", "model.control_model.")),
        (["state_dict.controlnet.zero_convs.0.0.weight"], ("controlnet", "ldm", "state_dict.controlnet.")),
        (["module.model.zero_convs.0.0.weight"], ("controlnet", "ldm", "module.model.")),
        (["module.controlnet_mid_block.weight"], ("controlnet", "diffusers", "module.")),
        (["controlnet_mid_block.weight"], ("controlnet", "diffusers", "")),
        (
            ["module.control_model.zero_convs.0.0.weight", f"module.{UNET}"],
            ("controlldm", "ldm", "module.control_model."),
        ),
        ([f"module.{UNET}"], ("stable-diffusion", "ldm", "module.")),
        (["another.zero_convs.0.0.weight"], ("unknown", "", "")),
        (["control_model.zero_convs.0.0.weight", UNET], ("controlldm", "ldm", "control_model.")),
        (["zero_convs.0.0.weight", "difference"], ("difference", "ldm", "")),
        ([UNET, "first_stage_model.decoder.conv_in.weight"], ("stable-diffusion", "ldm", "")),
        (["input_blocks.0.0.weight"], ("unet", "ldm", "")),
        (["down_blocks.0.resnets.0.conv1.weight"], ("unet", "diffusers", "")),
        (["body.0.block1.weight"], ("t2i-adapter", "ldm", "")),
        (["first_stage_model.decoder.conv_in.weight"], ("vae", "", "")),
        (["text_model.embeddings.token_embedding.weight"], ("text-encoder", "", "")),
        (["body.0.in_conv.weight"], ("t2i-adapter", "ldm", "")),
        (["adapter.body.0.resnets.0.block1.weight"], ("t2i-adapter", "diffusers", "adapter.")),
        (["lora_unet_input_blocks.lora_down.weight", "input_blocks.0.0.weight"], ("lora", "", "")),
        (["unet.down_blocks.0.attn1.to_q.lora_A.weight"], ("lora", "", "")),
        (["unet.down_blocks.0.attn1.processor.to_q_lora.down.weight"], ("lora", "", "")),
        (["lora_unet_down_blocks_0.hada_w1_a"], ("lycoris", "", "")),
        (["lllite_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q.down.0.weight"], ("lllite", "", "")),
        (["lora_controlnet", "input_hint_block.0.weight", "zero_convs.0.0.weight"], ("control-lora", "", "")),
        (["task_embedding", "controlnet_mid_block.weight"], ("union", "diffusers", "")),
        (["something.weight"], ("unknown", "", "")),
    ],
)
def test_the_kind_follows_from_the_names(tmp_path: Path, names: list[str], expected: tuple[str, str, str]) -> None:
    """Kind, layout and prefix are found; where the names of several networks occur, the more specific one wins."""
    known = identity(tmp_path, *names)
    assert (known.kind, known.layout, known.prefix) == expected


@pytest.mark.parametrize(
    ("name", "channels", "kind", "purpose"),
    [
        (UNET, 4, "stable-diffusion", ""),
        (UNET, 9, "stable-diffusion", "inpainting (9 input channels)"),
        (f"module.{UNET}", 5, "stable-diffusion", "depth-to-image (5 input channels)"),
        ("input_blocks.0.0.weight", 8, "unet", "InstructPix2Pix (8 input channels)"),
        ("conv_in.weight", 7, "unet", "upscaling (7 input channels)"),
        ("conv_in.weight", 3, "unknown", ""),
    ],
)
def test_the_purpose_follows_from_the_input(tmp_path: Path, name: str, channels: int, kind: str, purpose: str) -> None:
    """The channels of a UNet's first convolution tell its task; such a base is not advised."""
    mark = {"down_blocks.0.resnets.0.conv1.weight": torch.ones(1)} if kind == "unet" else {}
    known = identity(tmp_path, **{name: torch.ones(2, channels, 3, 3)}, **mark)

    assert (known.kind, known.purpose) == (kind, purpose)
    assert (f", made for {purpose}, fp32" in known.sentence) == bool(purpose)
    assert ("segkit needs a text-to-image base" in known.advice) == bool(purpose)


def test_the_prefix_of_a_base_is_dropped(tmp_path: Path) -> None:
    """Only tensors with the prefix belong to the base."""
    tensors = saved(tmp_path, {f"module.{UNET}": torch.ones(2), "module.vae": torch.ones(1), "step": torch.ones(1)})
    assert set(identify.base(tensors)) == {UNET, "vae"}
    bare = saved(tmp_path, {UNET: torch.ones(2)})
    assert identify.base(bare) is bare


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2])
def test_eight_bit_precisions_have_names(tmp_path: Path, dtype: torch.dtype) -> None:
    """fp8 is stated with its format."""
    assert (
        identity(tmp_path, a=torch.ones(2).to(dtype)).precision == f"fp8 ({str(dtype).removeprefix('torch.float8_')})"
    )


@pytest.mark.parametrize(("width", "family"), [(768, "SD1"), (1024, "SD2"), (2048, "SDXL"), (24, "")])
def test_the_family_follows_from_the_width(tmp_path: Path, width: int, family: str) -> None:
    """The cross-attention width reveals the family; an unknown width is stated as a number."""
    known = identity(tmp_path, "zero_convs.0.0.weight", **{ATTENTION: torch.ones(2, width)})

    assert (known.family, known.width) == (family, width)
    of = f" of {family}" if family else " with cross-attention width 24"
    assert known.sentence == f"This is a ControlNet{of}, fp32, 2 tensors."
    assert known.advice == "Use it as the ControlNet."


@pytest.mark.parametrize(
    ("name", "shape", "sentence"),
    [
        ("adapter.conv_in.weight", (320, 768, 3, 3), "a T2I-Adapter of SDXL, which is not a ControlNet"),
        ("adapter.conv_in.weight", (320, 192, 3, 3), "a T2I-Adapter of SD1 or SD2, which is not a ControlNet"),
        ("lora_unet_x_attn2_to_k.lora_down.weight", (4, 2048), "a LoRA of SDXL,"),
        ("unet.x.attn2.to_k.lora_A.weight", (4, 768), "a LoRA of SD1,"),
        ("unet.x.attn2.processor.to_k_lora.down.weight", (4, 1024), "a LoRA of SD2,"),
        ("lora_te2_text_model_encoder_layers_0_mlp_fc1.lora_down.weight", (4, 1280), "a LoRA of SDXL,"),
        ("task_embedding", (6, 320), "a union ControlNet, which serves several kinds of control images,"),
    ],
)
def test_the_family_of_small_networks_is_named(
    tmp_path: Path, name: str, shape: tuple[int, ...], sentence: str
) -> None:
    """Adapters and LoRAs reveal their family by other weights than a UNet; what is no ControlNet is said to be none."""
    mark = {"adapter.body.0.resnets.0.block1.weight": torch.ones(1)} if name.startswith("adapter") else {}
    known = identity(tmp_path, **{name: torch.ones(shape)}, **mark)
    assert re.search(sentence, known.sentence)
    assert known.advice


@pytest.mark.parametrize(
    ("names", "width", "purpose"),
    [
        ([], 1280, "refining pictures of the SDXL base"),
        (["edm_mean", "edm_std"], 2048, "EDM sampling"),
        (["edm_vpred.sigma_max"], 2048, "EDM sampling"),
        (["v_pred", "ztsnr"], 2048, ""),
    ],
)
def test_other_tasks_of_sdxl_are_named(tmp_path: Path, names: list[str], width: int, purpose: str) -> None:
    """The refiner and bases that predict neither noise nor velocity are called that, and not recommended."""
    attention = f"model.diffusion_model.{ATTENTION}"
    known = identity(tmp_path, *names, **{UNET: torch.ones(2, 4, 3, 3), attention: torch.ones(2, width)})
    assert (known.family, known.kind) == ("SDXL", "stable-diffusion")
    assert known.purpose.startswith(purpose)
    assert bool(known.purpose) == bool(purpose) == ("text-to-image base" in known.advice)


def test_precision_and_size_are_counted(tmp_path: Path) -> None:
    """Mixed precisions are joined; an integer buffer of old CLIP files is no precision."""
    known = identity(
        tmp_path, a=torch.ones(2, 3).half(), b=torch.ones(5), position_ids=torch.arange(7), c=torch.ones(1).bfloat16()
    )

    assert (known.precision, known.tensors, known.parameters) == ("bf16+fp16+fp32", 4, 2 * 3 + 5 + 7 + 1)
    assert known.advice == ""
    assert known.to_json()["precision"] == "bf16+fp16+fp32"


WEIGHTS = {"net.a": torch.ones(2, 3), "net.b": torch.ones(4), "other": torch.ones(1)}
SHAPES = {"net.a": (2, 3), "net.b": (4,)}


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, Faults()),
        ({"net.position_ids": torch.arange(3)}, Faults()),
        ({"net.c": torch.ones(1)}, Faults(extra=("net.c",))),
        ({"net.b": torch.tensor([1.0, torch.nan, 1, 1])}, Faults(broken=("net.b",))),
        ({"net.b": torch.tensor([1.0, -torch.inf, 1, 1])}, Faults(broken=("net.b",))),
        ({"net.b": torch.ones(4, dtype=torch.int64)}, Faults(integers=("net.b",))),
        ({"net.a": torch.ones(3, 2)}, Faults(shapes=("net.a (3, 2) instead of (2, 3)",))),
    ],
)
def test_each_fault_is_found(changed: dict[str, torch.Tensor], expected: Faults) -> None:
    """Only tensors with the network's prefix are compared."""
    assert soundness.faults(WEIGHTS | changed, SHAPES, "net.") == expected


def test_without_expectations_only_values_are_checked() -> None:
    """Names and shapes of a network that is not known cannot be wrong."""
    assert soundness.faults(WEIGHTS | {"net.c": torch.tensor([torch.nan])}, {}) == Faults(broken=("net.c",))


def test_faults_are_summarised_in_one_line() -> None:
    """Each kind of fault has its number and an example; a sound checkpoint has no summary."""
    assert Faults().sentence() == ""
    report = Faults(missing=("a", "b"), broken=("c",))
    assert report.sentence() == "2 tensors missing, such as a; 1 tensor NaN or infinite, such as c"


@pytest.mark.parametrize(
    ("changed", "cure"),
    [
        ({"net.a": torch.ones(3, 2)}, "Its size differs from the base's; use a ControlNet made for this base."),
        ({"net.b": torch.full((4,), torch.nan)}, "The file is damaged or its training diverged; use another."),
        ({"net.c": torch.ones(1)}, "The file is incomplete or belongs to another network; download it again."),
    ],
)
def test_a_faulty_checkpoint_is_refused_with_a_cure(
    tmp_path: Path, changed: dict[str, torch.Tensor], cure: str
) -> None:
    """The message names the file, what it is, the fault and the cure; a sound checkpoint passes."""
    known = Identity("controlnet", "ldm", "net.", "SD1", 768, "fp32", 3, 11)
    soundness.require(saved(tmp_path, WEIGHTS), SHAPES, known)

    with pytest.raises(ModelError) as refused:
        soundness.require(saved(tmp_path, WEIGHTS | changed), SHAPES, known)

    assert str(refused.value).startswith(f"{tmp_path / 'a.safetensors'}: This is a ControlNet of SD1, fp32, 3 tensors.")
    assert str(refused.value).endswith(cure)
