"""ControlNet weights between ldm's layout and diffusers': bit by bit, and by what the networks compute."""

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
    """Tell whether two networks have the same weights, bit by bit."""
    one, other = a.state_dict(), b.state_dict()
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def outputs(model: Any, inputs: tuple[torch.Tensor, ...]) -> list[torch.Tensor]:
    """Return what a network of diffusers computes: the residuals in order."""
    latents, time, words, hint = inputs
    with torch.no_grad():
        down, middle = model(latents, time, words, controlnet_cond=hint, return_dict=False)
    return [*down, middle]


def inputs(config: dict[str, Any]) -> tuple[torch.Tensor, ...]:
    """Return two samples of latents, times, words and control maps."""
    draw = torch.Generator().manual_seed(1)
    return (
        torch.randn(2, 4, 16, 8, generator=draw),
        torch.tensor([3, 871]),
        torch.randn(2, 7, config["cross_attention_dim"], generator=draw),
        torch.rand(2, 3, 128, 64, generator=draw),
    )


@pytest.mark.parametrize("ending", [".safetensors", ".pth", ".ckpt"])
@pytest.mark.parametrize("config", [SMALL, SD2], ids=["SD1", "SD2"])
def test_a_network_comes_back_bit_by_bit(tmp_path: Path, config: dict[str, Any], ending: str) -> None:
    """Written in ldm's layout and loaded, whatever the format."""
    model = randomised(config)

    ldm.save_ldm(model, tmp_path / f"a{ending}")

    assert same(ldm.load_ldm(tmp_path / f"a{ending}", dict(model.config)), model)
    assert [path.name for path in tmp_path.iterdir()] == [f"a{ending}"]


def test_what_is_written_computes_the_same_in_ldms_own_way(controlnet: Any) -> None:
    """All thirteen residuals agree with a network written from the architecture that reads ldm's names."""
    state, given = ldm.to_state(controlnet), inputs(SMALL)

    theirs = Ldm(state, heads=SMALL["attention_head_dim"], groups=SMALL["norm_num_groups"])(*given)

    own = outputs(controlnet, given)
    assert len(own) == len(theirs) == 13
    for one, other in zip(own, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5 * float(one.abs().max()))


def test_the_comparison_has_teeth(controlnet: Any) -> None:
    """Two swapped weights, or a wrong number of heads, are seen in the outputs."""
    state, given = ldm.to_state(controlnet), inputs(SMALL)
    own = outputs(controlnet, given)
    swapped = dict(state)
    name = "middle_block.{}.in_layers.0.weight"
    swapped[name.format(0)], swapped[name.format(2)] = state[name.format(2)], state[name.format(0)]

    for wrong in (Ldm(swapped, heads=4, groups=4), Ldm(state, heads=2, groups=4)):
        off = max(float((one - other).abs().max()) for one, other in zip(own, wrong(*given), strict=True))
        assert off > 1e-3


def test_diffusers_reads_the_names_alike(controlnet: Any) -> None:
    """The library's own one-way translation gives the same names and weights."""
    from diffusers.loaders.single_file_utils import convert_controlnet_checkpoint

    theirs = convert_controlnet_checkpoint(ldm.to_state(controlnet), dict(controlnet.config))

    own = controlnet.state_dict()
    assert theirs.keys() == own.keys()
    assert all(torch.equal(theirs[name], own[name]) for name in own)


@pytest.mark.parametrize("wrap", ["bare", "prefixed", "nested", "module", "whole"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_every_layout_that_files_have_is_read(tmp_path: Path, controlnet: Any, wrap: str, dtype: torch.dtype) -> None:
    """Bare, prefixed, nested in a training's checkpoint, inside a whole ControlLDM; fp16 or fp32."""
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
    found = identify.identify(safe_load.read(tmp_path / "a.pth"))
    assert found.kind == ("controlldm" if wrap == "whole" else "controlnet")


def test_a_diffusers_file_is_read_too(tmp_path: Path, controlnet: Any) -> None:
    """The weights beside a diffusers folder's config.json, given by name."""
    controlnet.save_pretrained(tmp_path)

    loaded = ldm.load_ldm(tmp_path / "diffusion_pytorch_model.safetensors", dict(controlnet.config))

    assert same(loaded, controlnet)


def test_half_precision_and_metadata_are_written(tmp_path: Path, controlnet: Any) -> None:
    """As A1111, Forge and ComfyUI like it: bare names, fp16, and what the file says of itself."""
    ldm.save_ldm(controlnet, tmp_path / "a.safetensors", torch.float16, {"palette": "abc"})

    found = safe_load.read(tmp_path / "a.safetensors")
    assert found.metadata == {"format": "pt", "palette": "abc"}
    assert {weight.dtype for weight in found.values()} == {torch.float16}
    assert "zero_convs.11.0.weight" in found
    assert "middle_block_out.0.bias" in found


def test_what_half_precision_cannot_hold_is_not_written(tmp_path: Path, controlnet: Any) -> None:
    """An overflow would be infinite in the file."""
    with torch.no_grad():
        controlnet.controlnet_mid_block.bias[0] = 1e6

    with pytest.raises(ModelError, match=r"1 weights are NaN or infinite, such as middle_block_out\.0\.bias"):
        ldm.save_ldm(controlnet, tmp_path / "a.safetensors", torch.float16)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a.txt", "a", "a.bin"])
def test_other_endings_are_refused(tmp_path: Path, controlnet: Any, name: str) -> None:
    """The format is told by the ending."""
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
    ("fault", "told"),
    [
        ("missing", r"1 tensors missing, such as input_blocks\.1\.0\.in_layers\.2\.weight"),
        ("extra", r"1 tensors that belong elsewhere, such as input_blocks\.99\.weight"),
        ("nan", r"1 tensors NaN or infinite"),
        ("infinite", r"1 tensors NaN or infinite"),
        ("shape", r"1 tensors of another shape, such as .* \(16, 8, 3, 3\) instead of \(16, 16, 3, 3\)"),
        ("integers", r"1 tensors no floating-point numbers"),
    ],
)
def test_faulty_weights_are_refused(tmp_path: Path, controlnet: Any, fault: str, told: str) -> None:
    """Each fault that loaders let pass is one line that names the first tensor."""
    torch.save(faulty(ldm.to_state(controlnet), fault), tmp_path / "a.pth")

    with pytest.raises(ModelError, match=told) as refused:
        ldm.load_ldm(tmp_path / "a.pth", dict(controlnet.config))

    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("state", "told"),
    [
        ({"model.diffusion_model.input_blocks.0.0.weight": 4}, "a Stable Diffusion, without a ControlNet"),
        ({"lora_unet_down.lora_down.weight": 4}, "a LoRA"),
        ({"difference": 0, "zero_convs.0.0.weight": 4}, "the difference of a ControlNet"),
        ({"input_blocks.0.0.weight": 4}, "a UNet alone"),
        ({"something.weight": 4}, "no network that segkit knows"),
    ],
)
def test_another_network_is_called_by_its_name(tmp_path: Path, state: dict[str, int], told: str) -> None:
    """What is due, and what was found."""
    torch.save({name: torch.ones(1, size) for name, size in state.items()}, tmp_path / "a.pth")

    with pytest.raises(ModelError, match=f"{told}.*Expected a ControlNet"):
        ldm.load_ldm(tmp_path / "a.pth", SMALL)


@pytest.mark.parametrize(
    ("name", "safe"),
    [("my seg", "my-seg"), ("Shuffle_x", "seg_x"), ("../a/b", "a-b"), ("é", "segkit"), ("a_INSTANT_ID", "a_seg")],
)
def test_names_of_files_mislead_nobody(name: str, safe: str) -> None:
    """A1111 guesses from the name; a path leads nowhere."""
    assert ldm.safe_name(name) == safe


@pytest.mark.slow
@pytest.mark.parametrize("family", ["sd15", "sd21"])
def test_the_full_size_comes_back_bit_by_bit(tmp_path: Path, family: str) -> None:
    """SD1.5's 340 and SD2.1's tensors, written and read, with equal outputs before and after."""
    from trainer.checkpoints import configs

    config = configs.released(family)
    model = randomised(config)
    assert len(model.state_dict()) == 340
    assert sum(weight.numel() for weight in model.parameters()) == {"sd15": 361_279_120, "sd21": 364_228_240}[family]
    before = [each.clone() for each in outputs(model, inputs(config))]

    ldm.save_ldm(model, tmp_path / "a.pth")
    loaded = ldm.load_ldm(tmp_path / "a.pth", config)

    assert same(loaded, model)
    assert all(torch.equal(one, other) for one, other in zip(before, outputs(loaded, inputs(config)), strict=True))
