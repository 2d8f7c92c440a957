"""Union ControlNets are read, called like any ControlNet, and compared with diffusers' network called directly."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

import segkit as api
from segkit.errors import ModelError, UsageError
from tests.conftest import Segkit
from tests.trainer.runs import words
from trainer.checkpoints import configs, export, find, fitting, inspect, ldm, load, safe_load, union

CONFIG: dict[str, Any] = {
    "block_out_channels": [32, 64, 64],
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    "transformer_layers_per_block": [1, 1, 2],
    "attention_head_dim": [1, 1, 1],
    "cross_attention_dim": 64,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 8,
    "projection_class_embeddings_input_dim": 40 + 6 * 8,
    "conditioning_embedding_out_channels": [4, 8, 8, 16],
    "layers_per_block": 2,
}
"""A ControlNet that fits a small SDXL."""


def network(kinds: int) -> Any:
    """Return diffusers' network with random weights, none of them zero."""
    from diffusers import ControlNetUnionModel

    model = ControlNetUnionModel(
        **CONFIG, num_control_type=kinds, num_trans_channel=32, num_proj_channel=32, num_trans_layer=2
    )
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator) * 0.1)
    return model.eval()


@pytest.fixture(scope="module", params=[6, 8], ids=["released", "promax"])
def original(request: pytest.FixtureRequest) -> Any:
    """Such a network with the kinds of the released ones: do not modify it."""
    return network(request.param)


def inputs() -> dict[str, Any]:
    """Return latents, timesteps, prompts and sizes of a batch of two."""
    generator = torch.Generator().manual_seed(1)
    return {
        "sample": torch.randn(2, 4, 8, 8, generator=generator),
        "timestep": torch.tensor([3, 871]),
        "encoder_hidden_states": torch.randn(2, 7, 64, generator=generator),
        "added_cond_kwargs": {
            "text_embeds": torch.randn(2, 40, generator=generator),
            "time_ids": torch.tensor([[64.0, 64, 0, 0, 64, 64]] * 2),
        },
        "return_dict": False,
    }


def test_each_mode_is_called_like_a_controlnet(original: Any, tmp_path: Path) -> None:
    """Read from one file, it returns what diffusers' network returns for one map of the kind: 5, or another one."""
    save_file(original.state_dict(), tmp_path / "a.safetensors")
    maps = torch.rand(2, 3, 64, 64)
    model: Any = ldm.load_ldm(tmp_path / "a.safetensors", CONFIG)

    results = {}
    for mode in (5, 3):
        union.set_mode(model, mode, None, "a")
        control_type = torch.zeros(2, original.config.num_control_type)
        control_type[:, mode] = 1
        with torch.no_grad():
            arguments = {"control_type": control_type, "control_type_idx": [mode], **inputs()}
            expected = original(controlnet_cond=[maps], **arguments)
            down, mid = results[mode] = model(controlnet_cond=maps, **inputs())
        assert torch.equal(mid, expected[1])
        assert all(torch.equal(one, two) for one, two in zip(down, expected[0], strict=True))

    assert not torch.equal(results[5][0][0], results[3][0][0])  # the kind matters


@pytest.mark.parametrize(
    ("kinds", "number", "recorded", "outcome"),
    [
        (6, None, None, 5),
        (8, None, 3, 3),
        (8, 7, None, 7),
        (8, 3, 3, 3),
        (0, None, None, 5),
        (0, 5, None, 5),
        (0, 3, None, "a: not a union ControlNet, so it has no mode. Leave out controlnet_mode=3"),
        (8, 5, 3, "a: segkit trained it in mode 3, not 5. Use controlnet_mode=3"),
        (
            4,
            None,
            None,
            "a: a union ControlNet with 4 kinds of control images, modes 0 to 3, and controlnet_mode=5 is",
        ),
        (6, 6, None, "modes 0 to 5, and controlnet_mode=6 is none of them"),
    ],
)
def test_the_mode_is_the_one_set_or_recorded_or_that_of_released_networks(
    kinds: int, number: int | None, recorded: int | None, outcome: int | str
) -> None:
    """A mode that a network does not have, or was not trained in, is refused with what to set."""
    if isinstance(outcome, int):
        assert union.require_mode(kinds, number, recorded, "a") == outcome
        return
    with pytest.raises(ModelError, match=re.escape(outcome)):
        union.require_mode(kinds, number, recorded, "a")


def test_what_belongs_to_other_kinds_is_not_trained(original: Any, tmp_path: Path) -> None:
    """Every shared weight gets a gradient; the embeddings of the kinds get none, and are written as they were."""
    original.save_pretrained(tmp_path / "union")
    stored = json.loads((tmp_path / "union" / "config.json").read_text())
    model: Any = ldm.load(safe_load.read_folder(tmp_path / "union"), stored)

    down, mid = model.train()(controlnet_cond=torch.rand(2, 3, 64, 64), **inputs())
    sum(residual.square().sum() for residual in (*down, mid)).backward()

    frozen = {name for name, weight in model.named_parameters() if weight.grad is None}
    assert frozen == {name for name in original.state_dict() if name.startswith(("task_emb", "control_add_emb"))}
    export.write_folder(tmp_path / "written", model)
    written = json.loads((tmp_path / "written" / "config.json").read_text())
    assert written["_class_name"] == "ControlNetUnionModel"
    again = type(original).from_pretrained(tmp_path / "written").state_dict()
    assert all(torch.equal(weight, original.state_dict()[name]) for name, weight in again.items())
    assert written["num_control_type"] == original.config.num_control_type


@pytest.mark.parametrize(
    ("kinds", "metadata", "note"),
    [
        (6, {}, "modes 0 to 5; segmentation maps have mode 5 unless another one is set (controlnet_mode=N)."),
        (8, {"controlnet_mode": "3"}, "modes 0 to 7; segkit trained it with segmentation maps in mode 3."),
        (4, {}, "modes 0 to 3; which one segmentation maps have must be set (controlnet_mode=N)."),
    ],
)
def test_it_is_inspected_as_what_it_is(
    segkit: Segkit, tmp_path: Path, kinds: int, metadata: dict[str, str], note: str
) -> None:
    """Its kind and modes are named; the names and shapes of one smaller than the released ones are not known."""
    save_file(network(kinds).state_dict(), tmp_path / "a.safetensors", metadata)

    report = inspect.inspect(tmp_path / "a.safetensors")

    assert report.identity.sentence.startswith("This is a union ControlNet of SDXL, which serves several kinds")
    assert "its mode for segmentation maps" in report.identity.advice
    assert (report.identity.layout, report.compared, report.is_sound) == ("diffusers", False, True)
    assert report.notes == (f"It has {kinds} kinds of control images, {note}",)
    assert note.replace("controlnet_mode=N", "--controlnet-mode N") in segkit("inspect", tmp_path / "a.safetensors").out


def test_the_full_size_has_the_names_of_the_released_file() -> None:
    """Xinsir's networks have 6 or 8 kinds, 320 channels and one layer over the conditions."""
    state = {"task_embedding": torch.zeros(6, 320), "transformer_layes.0.ln_1.weight": torch.zeros(320),
             "spatial_ch_projs.weight": torch.zeros(320, 320)}  # fmt: skip
    model = ldm.empty(union.config(state, configs.released("sdxl"), ""))
    shapes = {name: tuple(weight.shape) for name, weight in model.state_dict().items()}
    assert shapes["transformer_layes.0.attn.in_proj_weight"] == (960, 320)
    assert shapes["control_add_embedding.linear_1.weight"] == (1280, 1536)
    assert shapes["controlnet_down_blocks.8.weight"] == (1280, 1280, 1, 1)


def test_it_is_trained_in_a_mode_and_stays_a_union(
    rooms: Path, sdxl: Path, tmp_path: Path, segkit: Segkit
) -> None:  # fmt: skip
    """A run changes what the kinds share; its mode is recorded, told to users and kept by everything that follows."""
    base = load.load_base(str(sdxl))
    config = configs.controlnet(base.unet.config, base.vae.config)
    start = union.model_class()(**config, num_control_type=4, num_trans_channel=32, num_proj_channel=32)
    torch.nn.init.normal_(start.spatial_ch_projs.weight)  # zero in one that was never trained
    start.save_pretrained(tmp_path / "union")
    run, options = tmp_path / "run", {"controlnet": tmp_path / "union", "steps": 2, "ema": 0.9}

    refused = segkit(*words(rooms, sdxl, run, **options))
    done = segkit(*words(rooms, sdxl, run, **options, controlnet_mode=3))
    resumed = segkit(*words(rooms, sdxl, run, **options | {"steps": 3}, controlnet_mode=2))

    assert (refused.code, run.exists() and not done.code) == (2, True)
    assert "4 kinds of control images, modes 0 to 3, and --controlnet-mode 5 is none of them" in refused.err
    assert (resumed.code, "controlnet-mode" in resumed.err.replace("_", "-")) == (2, True)
    result: Any = load.load_controlnet(str(run), base)
    assert (type(result).__name__, result.config.num_control_type, result.mode) == ("ControlNetUnionModel", 4, 3)
    before, after = start.state_dict(), result.state_dict()
    kept = {name for name in before if torch.equal(before[name], after[name])}
    assert {name for name in before if name.startswith(("task_emb", "control_add_emb"))} <= kept
    assert {"controlnet_mid_block.weight", "spatial_ch_projs.bias"}.isdisjoint(kept)
    export.export(run, "ldm", tmp_path / "out.safetensors")
    export.export(run, "diffusers", tmp_path / "out")
    checkpoint = run / "checkpoints" / "step-00000002"
    for source in (run / "run.safetensors", tmp_path / "out.safetensors", tmp_path / "out", checkpoint):
        assert union.mode(load.load_controlnet(str(source), base)) == 3, source
    card = (run / "model-card.md").read_text()
    assert "| controlnet_mode | 3 |" in card
    assert '`ControlNetUnionModel.from_pretrained("controlnet")`' in card
    assert "called with `control_mode=[3]`" in card
    assert '`run.safetensors`, with its type set to "canny/lineart/anime_lineart/mlsd"' in card


def test_its_pictures_are_of_its_mode(rooms: Path, sdxl: Path, tmp_path: Path, segkit: Segkit) -> None:
    """Another mode draws another picture, and is refused for a ControlNet without modes."""
    base = load.load_base(str(sdxl))
    config = configs.controlnet(base.unet.config, base.vae.config)
    model = union.model_class()(**config, num_control_type=8, num_trans_channel=32, num_proj_channel=32)
    for weight in (model.spatial_ch_projs.weight, model.controlnet_mid_block.weight):
        torch.nn.init.normal_(weight)
    ldm.save_ldm(model, tmp_path / "recorded.safetensors", layout="diffusers")
    save_file(model.state_dict(), tmp_path / "union.safetensors")
    control_map = next(rooms.glob("maps/*/*.png"))
    words = [
        "generate",
        "--map",
        control_map,
        "--prompt",
        "a room",
        "--base",
        sdxl,
        "--steps",
        2,
        "--resolution",
        64,
        "--overwrite",
        "-o",
    ]

    def drawn(name: str, *options: Any) -> Any:
        source = name if name == "fresh" else tmp_path / name
        return segkit(*words, tmp_path / "out", "--controlnet", source, *options)

    pictures = []
    for options in ((), ("--controlnet-mode", 5), ("--controlnet-mode", 6)):
        assert drawn("union.safetensors", *options).code == 0
        pictures.append(next((tmp_path / "out").glob("*.png")).read_bytes())
    other, plain = drawn("recorded.safetensors", "--controlnet-mode", 6), drawn("fresh", "--controlnet-mode", 6)

    assert pictures[0] == pictures[1] != pictures[2]
    assert (other.code, "segkit trained it in mode 5, not 6" in other.err) == (2, True)
    assert "--controlnet fresh: not a union ControlNet, so it has no mode. Leave out --controlnet-mode 6" in plain.err


def test_a_fresh_controlnet_has_no_mode(rooms: Path, base: Path, tmp_path: Path, segkit: Segkit) -> None:
    """Even that of segmentation maps is refused where it was set, but not in a run.toml, which always has one."""
    message = "--controlnet fresh: not a union ControlNet, so it has no mode. Leave out --controlnet-mode 5"

    trained = segkit(*words(rooms, base, tmp_path / "run", controlnet="fresh", controlnet_mode=5))
    drawn = segkit("generate", "--map", rooms, "--base", base, "--controlnet", "fresh", "--controlnet-mode", 5)
    (tmp_path / "run.toml").write_text(
        'base = "toy"\ncontrolnet = "fresh"\ncontrolnet_mode = 5\nresolution = 64\nsteps = 2\n'
    )
    planned = segkit("train", rooms, "-o", tmp_path / "run", "--config", tmp_path / "run.toml", "--dry-run")

    assert (trained.code, drawn.code, planned.code) == (2, 2, 0), planned.err
    assert message in trained.err
    assert message in drawn.err
    with pytest.raises(UsageError, match=r"Leave out controlnet_mode=5"):
        api.train(rooms, tmp_path / "run", base="toy", controlnet="fresh", controlnet_mode=5)


@pytest.mark.parametrize("where", ["file", "folder"])
def test_a_base_of_another_family_is_refused(base: Path, tmp_path: Path, where: str) -> None:
    """Union ControlNets are of SDXL: with another base, its family is named, whatever the ControlNet's size."""
    path = tmp_path / ("a.safetensors" if where == "file" else "union")
    save_file(network(6).state_dict(), path) if where == "file" else network(6).save_pretrained(path)
    message = "made for Stable Diffusion XL, the base is of Stable Diffusion 1"

    with pytest.raises(ModelError, match=message):
        fitting.require_fitting(str(base), find.find_controlnet(str(path)), "", None)
    with pytest.raises(ModelError, match=message):
        load.load_controlnet(str(path), load.load_base(str(base)))


def test_one_without_sizes_is_refused() -> None:
    """A union ControlNet that was made for Stable Diffusion 1 or 2 is not known to exist, and says so."""
    with pytest.raises(
        ModelError, match="a: a union ControlNet for Stable Diffusion 1; those that segkit knows are of"
    ):
        union.require_sized({"cross_attention_dim": 768}, "a")
