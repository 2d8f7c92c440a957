"""ControlNet weights survive conversion between the ldm and diffusers layouts, bit for bit and in their outputs."""

from pathlib import Path
from typing import Any

import pytest
import torch

from segkit.errors import ModelError, UsageError
from tests.trainer.conftest import SMALL, randomised
from tests.trainer.ldm import Ldm
from trainer.checkpoints import identify, ldm, safe_load

SD2 = SMALL | {"use_linear_projection": True, "attention_head_dim": [2, 4, 4, 4]}


def same(a: Any, b: Any) -> bool:
    """Return whether two networks have the same weights, bit for bit."""
    first, second = a.state_dict(), b.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def outputs(model: Any, inputs: tuple[torch.Tensor, ...]) -> list[torch.Tensor]:
    """Return the residuals of a diffusers ControlNet in order."""
    latents, timesteps, hidden_states, control_map = inputs
    with torch.no_grad():
        down, mid = model(latents, timesteps, hidden_states, controlnet_cond=control_map, return_dict=False)
    return [*down, mid]


def inputs(config: dict[str, Any]) -> tuple[torch.Tensor, ...]:
    """Return a batch of two: latents, timesteps, encoder hidden states and control maps."""
    generator = torch.Generator().manual_seed(1)
    return (
        torch.randn(2, 4, 16, 8, generator=generator),
        torch.tensor([3, 871]),
        torch.randn(2, 7, config["cross_attention_dim"], generator=generator),
        torch.rand(2, 3, 128, 64, generator=generator),
    )


@pytest.mark.parametrize("ending", [".safetensors", ".pth", ".ckpt"])
@pytest.mark.parametrize("config", [SMALL, SD2], ids=["SD1", "SD2"])
def test_a_network_survives_a_round_trip(tmp_path: Path, config: dict[str, Any], ending: str) -> None:
    """A network written in ldm's layout and loaded again has the same weights, in every file format."""
    model = randomised(config)

    ldm.save_ldm(model, tmp_path / f"a{ending}")

    assert same(ldm.load_ldm(tmp_path / f"a{ending}", dict(model.config)), model)
    assert [path.name for path in tmp_path.iterdir()] == [f"a{ending}"]


def test_an_independent_ldm_implementation_agrees(controlnet: Any) -> None:
    """All thirteen residuals agree with a network that reads ldm's names and shares no code with diffusers."""
    state, batch = ldm.to_state(controlnet), inputs(SMALL)

    residuals = Ldm(state, heads=SMALL["attention_head_dim"], groups=SMALL["norm_num_groups"])(*batch)

    expected = outputs(controlnet, batch)
    assert len(expected) == len(residuals) == 13
    for one, other in zip(expected, residuals, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5 * float(one.abs().max()))


def test_the_comparison_detects_errors(controlnet: Any) -> None:
    """Two swapped weights or a wrong number of heads change the outputs."""
    state, batch = ldm.to_state(controlnet), inputs(SMALL)
    expected = outputs(controlnet, batch)
    swapped = dict(state)
    name = "middle_block.{}.in_layers.0.weight"
    swapped[name.format(0)], swapped[name.format(2)] = state[name.format(2)], state[name.format(0)]

    for wrong in (Ldm(swapped, heads=4, groups=4), Ldm(state, heads=2, groups=4)):
        error = max(float((one - other).abs().max()) for one, other in zip(expected, wrong(*batch), strict=True))
        assert error > 1e-3


def test_diffusers_converter_agrees(controlnet: Any) -> None:
    """The one-way converter of diffusers returns the same names and weights."""
    from diffusers.loaders.single_file_utils import convert_controlnet_checkpoint

    converted = convert_controlnet_checkpoint(ldm.to_state(controlnet), dict(controlnet.config))

    expected = controlnet.state_dict()
    assert converted.keys() == expected.keys()
    assert all(torch.equal(converted[name], expected[name]) for name in expected)


@pytest.mark.parametrize("wrap", ["bare", "prefixed", "nested", "module", "whole"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_every_layout_in_circulation_is_read(tmp_path: Path, controlnet: Any, wrap: str, dtype: torch.dtype) -> None:
    """Weights are found bare, prefixed, nested in a training checkpoint or inside a ControlLDM, in fp16 or fp32."""
    bare = ldm.to_state(controlnet, dtype)
    prefixed = {f"control_model.{name}": weight for name, weight in bare.items()}
    content: Any = {
        "bare": bare,
        "prefixed": prefixed,
        "nested": {"state_dict": prefixed, "epoch": 3},
        "module": {"module": bare, "optimizer": {"step": torch.tensor(1)}},
        "whole": {"state_dict": prefixed | {"model.diffusion_model.input_blocks.0.0.weight": torch.ones(1)}},
    }[wrap]
    torch.save(content, tmp_path / "a.pth")

    loaded = ldm.load_ldm(tmp_path / "a.pth", dict(controlnet.config))

    exact = controlnet.to(dtype).to(torch.float32)
    assert same(loaded, exact)
    assert {weight.dtype for weight in loaded.parameters()} == {torch.float32}
    identity = identify.identify(safe_load.read(tmp_path / "a.pth"))
    assert identity.kind == ("controlldm" if wrap == "whole" else "controlnet")


PREFIXES = ("module.", "_orig_mod.", "model.control_model.", "controlnet.", "state_dict.", "model.")


@pytest.mark.parametrize("layout", ["ldm", "diffusers"])
@pytest.mark.parametrize("prefix", [*PREFIXES, "module._orig_mod.", "state_dict.model.control_model.", "model.module."])
def test_prefixes_of_every_trainer_are_stripped(tmp_path: Path, controlnet: Any, prefix: str, layout: str) -> None:
    """Any combination of wrappers before the names is found, in both layouts."""
    bare = ldm.to_state(controlnet) if layout == "ldm" else controlnet.state_dict()
    torch.save({prefix + name: weight for name, weight in bare.items()}, tmp_path / "a.pth")

    assert same(ldm.load_ldm(tmp_path / "a.pth", dict(controlnet.config)), controlnet)


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2])
def test_eight_bit_weights_are_read(tmp_path: Path, controlnet: Any, dtype: torch.dtype) -> None:
    """fp8 weights become equal fp32 weights."""
    torch.save({name: weight.to(dtype) for name, weight in ldm.to_state(controlnet).items()}, tmp_path / "a.pth")
    assert same(ldm.load_ldm(tmp_path / "a.pth", dict(controlnet.config)), controlnet.to(dtype).float())


def test_a_placeholder_of_zeros_is_refused(tmp_path: Path, controlnet: Any) -> None:
    """A ControlNet whose weights are all zero has the right names and steers nothing."""
    state = {name: torch.zeros_like(weight) for name, weight in ldm.to_state(controlnet).items()}
    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(ModelError, match=r"tensors all zero, such as .* No training leaves such weights"):
        ldm.load_ldm(tmp_path / "a.pth", dict(controlnet.config))


def test_a_diffusers_file_is_read(tmp_path: Path, controlnet: Any) -> None:
    """The weights file of a diffusers folder can be loaded by its name."""
    controlnet.save_pretrained(tmp_path)

    loaded = ldm.load_ldm(tmp_path / "diffusion_pytorch_model.safetensors", dict(controlnet.config))

    assert same(loaded, controlnet)


def test_half_precision_and_metadata_are_written(tmp_path: Path, controlnet: Any) -> None:
    """A .safetensors file has bare names, fp16 weights and metadata, as A1111, Forge and ComfyUI expect."""
    ldm.save_ldm(controlnet, tmp_path / "a.safetensors", torch.float16, {"palette": "abc"})

    tensors = safe_load.read(tmp_path / "a.safetensors")
    assert tensors.metadata == {"format": "pt", "palette": "abc"}
    assert {weight.dtype for weight in tensors.values()} == {torch.float16}
    assert "zero_convs.11.0.weight" in tensors
    assert "middle_block_out.0.bias" in tensors


def test_overflow_in_half_precision_is_refused(tmp_path: Path, controlnet: Any) -> None:
    """A weight that would be infinite in fp16 is an error, and no file is left."""
    with torch.no_grad():
        controlnet.controlnet_mid_block.bias[0] = 1e6

    with pytest.raises(ModelError, match=r"1 weight is NaN or infinite, such as middle_block_out\.0\.bias"):
        ldm.save_ldm(controlnet, tmp_path / "a.safetensors", torch.float16)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a.txt", "a", "a.bin"])
def test_other_extensions_are_refused(tmp_path: Path, controlnet: Any, name: str) -> None:
    """The extension determines the format, so an unknown one is an error."""
    with pytest.raises(UsageError, match="ends in"):
        ldm.save_ldm(controlnet, tmp_path / name)


def faulty(state: dict[str, torch.Tensor], fault: str) -> dict[str, torch.Tensor]:
    """Return weights with one fault."""
    name = "input_blocks.1.0.in_layers.2.weight"
    if fault == "missing":
        return {key: value for key, value in state.items() if key != name}
    if fault == "extra":
        return state | {"input_blocks.99.weight": torch.ones(1)}
    changed = {
        "nan": torch.full_like(state[name], torch.nan),
        "infinite": torch.full_like(state[name], torch.inf),
        "shape": state[name][:, :8].clone(),
        "integers": state[name].to(torch.int32),
    }
    return state | {name: changed[fault]}


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("missing", r"1 tensor missing, such as input_blocks\.1\.0\.in_layers\.2\.weight"),
        ("extra", r"1 tensor not part of this network, such as input_blocks\.99\.weight"),
        ("nan", r"1 tensor NaN or infinite"),
        ("infinite", r"1 tensor NaN or infinite"),
        ("shape", r"1 tensor of wrong shape, such as .* \(16, 8, 3, 3\) instead of \(16, 16, 3, 3\)"),
        ("integers", r"1 tensor not floating point"),
    ],
)
def test_faulty_weights_are_refused(tmp_path: Path, controlnet: Any, fault: str, message: str) -> None:
    """Each fault that common loaders accept is reported in one line that names the first tensor."""
    torch.save(faulty(ldm.to_state(controlnet), fault), tmp_path / "a.pth")

    with pytest.raises(ModelError, match=message) as refused:
        ldm.load_ldm(tmp_path / "a.pth", dict(controlnet.config))

    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("state", "description"),
    [
        ({"model.diffusion_model.input_blocks.0.0.weight": 4}, "a Stable Diffusion, without a ControlNet"),
        ({"lora_unet_down.lora_down.weight": 4}, "a LoRA"),
        ({"difference": 0, "zero_convs.0.0.weight": 4}, "the difference between a ControlNet"),
        ({"input_blocks.0.0.weight": 4}, "a UNet only"),
        ({"something.weight": 4}, "not a network that segkit knows"),
    ],
)
def test_another_network_is_identified(tmp_path: Path, state: dict[str, int], description: str) -> None:
    """The message names the kind that was found and the kind that was expected."""
    torch.save({name: torch.ones(1, size) for name, size in state.items()}, tmp_path / "a.pth")

    with pytest.raises(ModelError, match=f"{description}.*Expected a ControlNet"):
        ldm.load_ldm(tmp_path / "a.pth", SMALL)


@pytest.mark.parametrize(
    ("name", "safe"),
    [("my seg", "my-seg"), ("Shuffle_x", "seg_x"), ("../a/b", "a-b"), ("é", "segkit"), ("a_INSTANT_ID", "a_seg")],
)
def test_file_names_are_safe(name: str, safe: str) -> None:
    """Words from which A1111 guesses another network are replaced, and so are path separators."""
    assert ldm.safe_name(name) == safe


@pytest.mark.slow
@pytest.mark.parametrize("family", ["sd15", "sd21"])
def test_the_full_size_survives_a_round_trip(tmp_path: Path, family: str) -> None:
    """All 340 tensors of an SD1.5 or SD2.1 ControlNet, and its outputs, are equal after writing and reading."""
    from trainer.checkpoints import configs

    config = configs.released(family)
    model = randomised(config)
    assert len(model.state_dict()) == 340
    assert sum(weight.numel() for weight in model.parameters()) == {"sd15": 361_279_120, "sd21": 364_228_240}[family]
    before = [residual.clone() for residual in outputs(model, inputs(config))]

    ldm.save_ldm(model, tmp_path / "a.pth")
    loaded = ldm.load_ldm(tmp_path / "a.pth", config)

    assert same(loaded, model)
    assert all(torch.equal(one, other) for one, other in zip(before, outputs(loaded, inputs(config)), strict=True))
