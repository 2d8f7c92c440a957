"""SDXL end to end on a small network of its architecture: trained, resumed, drawn, judged, exported and planned."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from segkit.models import hub
from tests.conftest import Segkit
from tests.trainer.runs import log, same, train, weights_of, words
from trainer.checkpoints import load, safe_load

pytestmark = pytest.mark.usefixtures("short_callbacks")

OPTIONS: dict[str, Any] = {
    "steps": 4, "checkpoint_every": 2, "min_snr": 5, "ema": 0.9, "prompt_dropout": 0.5, "evaluate_every": 1000,
    "preview_every": 4, "precision": "bf16",
}  # fmt: skip
"""Everything that a step may depend on, validation and previews; the VAE computes in fp32 all the same."""


@pytest.fixture(scope="module")
def run(held_out: Path, sdxl: Path, short_callbacks: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run with a cache. Do not modify it."""
    return train(held_out, sdxl, tmp_path_factory.mktemp("sdxl") / "xl-run", **OPTIONS)


def test_a_resumed_run_is_exact(run: Path, held_out: Path, sdxl: Path, tmp_path: Path, segkit: Segkit) -> None:
    """Half without the cache and resumed, losses, validation and weights equal the uninterrupted run's bit for bit."""
    first = segkit(*words(held_out, sdxl, tmp_path / "run", **OPTIONS | {"steps": 2, "no_cache": True}))
    second = segkit(*words(held_out, sdxl, tmp_path / "run", **OPTIONS, gradient_checkpointing=True))

    assert (first.code, second.code, second.err) == (0, 0, "")
    assert log(tmp_path / "run") == log(run)
    assert same(weights_of(tmp_path / "run"), weights_of(run))
    assert float(weights_of(run)["controlnet_mid_block.weight"].abs().max()) > 0
    assert (run / "previews" / "step-00000004.png").is_file()


def test_the_result_is_what_programs_read(run: Path, sdxl: Path, tmp_path: Path, segkit: Segkit) -> None:
    """The folder is the pipeline's, the fp16 file has diffusers' names and metadata; there is no .pth for SDXL."""
    from diffusers import ControlNetModel, StableDiffusionXLControlNetPipeline

    with hub.quiet():
        model = ControlNetModel.from_pretrained(run / "controlnet", local_files_only=True)
        StableDiffusionXLControlNetPipeline.from_pretrained(sdxl, controlnet=model, local_files_only=True)
    exported = segkit("export", run, "--to", "ldm", "--full", "-o", tmp_path / "xl.safetensors")
    pickled = segkit("export", run, "--to", "pth")

    file, full, weights = (
        load_file(path) for path in (run / "xl-run.safetensors", tmp_path / "xl.safetensors",
                                     run / "controlnet" / "diffusion_pytorch_model.safetensors")
    )  # fmt: skip
    assert file.keys() == full.keys() == weights.keys() == model.state_dict().keys()
    assert all(torch.equal(file[name], weights[name].half()) for name in weights)
    assert same(full, weights)
    assert safe_load.read(run / "xl-run.safetensors").metadata["base"] == "small-xl"
    assert "| family | Stable Diffusion XL |" in (run / "model-card.md").read_text()
    assert exported.code == 0
    assert (pickled.code, "no program reads a .pth file of Stable Diffusion XL" in pickled.err) == (2, True)
    base = load.load_base(str(sdxl))
    again = load.load_controlnet(str(tmp_path / "xl.safetensors"), base).state_dict()
    assert same(again, weights)


def test_a_run_is_evaluated(run: Path, held_out: Path, tmp_path: Path, segkit: Segkit) -> None:
    """Its pictures are drawn in batches as alone, and judged; the base and its sizes come from the run."""
    options = ["--resolution", 64, "--steps", 2, "--limit", 2, "--judge", "toy", "--device", "cpu", "--json"]
    done = segkit("evaluate", run, "--dataset", held_out, "-o", tmp_path / "batches", "--batch-size", 2, *options)
    alone = segkit("evaluate", run, "--dataset", held_out, "-o", tmp_path / "alone", *options)

    assert (done.code, json.loads(done.out)["maps"]) == (0, 2)
    pictures = sorted((tmp_path / "batches").rglob("*.png"))
    others = sorted((tmp_path / "alone").rglob("*.png"))
    assert [path.name for path in pictures] == [path.name for path in others]
    assert [path.read_bytes() for path in pictures] == [path.read_bytes() for path in others]
    assert alone.code == 0


def test_a_reward_reaches_an_unlocked_base(held_out: Path, sdxl: Path, tmp_path: Path, segkit: Segkit) -> None:
    """With a reward and --sd-unlocked a step is taken, and the base is saved as diffusers and segkit load it."""
    from diffusers import StableDiffusionXLPipeline

    options = {"steps": 1, "reward": "toy", "reward_until": 700, "reward_share": 0.5, "sd_unlocked": True}
    done = segkit(*words(held_out, sdxl, tmp_path / "run", **options, vae=sdxl / "vae"))

    assert (done.code, done.err) == (0, "")
    assert log(tmp_path / "run")[0]["loss"] > 0
    base = load.load_base(str(tmp_path / "run" / "base"))
    with hub.quiet():
        pipeline = StableDiffusionXLPipeline.from_pretrained(tmp_path / "run" / "base", local_files_only=True)
    assert same(base.unet.state_dict(), pipeline.unet.state_dict())
    assert same(base.text_encoders[1].state_dict(), pipeline.text_encoder_2.state_dict())
    before = load.load_base(str(sdxl)).unet.state_dict()
    changed = {name.split(".")[0] for name, weight in base.unet.state_dict().items() if not weight.equal(before[name])}
    assert changed == {"up_blocks", "conv_norm_out", "conv_out"}


def test_a_controlnet_of_another_family_is_refused(run: Path, base: Path, sdxl: Path, tmp_path: Path) -> None:
    """Widths may agree by chance; what the networks are conditioned on does not."""
    from segkit.errors import ModelError
    from trainer.checkpoints import export

    small, large = load.load_base(str(base)), load.load_base(str(sdxl))
    export.write_folder(tmp_path / "sd1", load.load_controlnet("fresh", small))

    with pytest.raises(ModelError, match="made for Stable Diffusion 1, the base is of Stable Diffusion XL"):
        load.load_controlnet(str(tmp_path / "sd1"), large)
    with pytest.raises(ModelError, match="made for Stable Diffusion XL, the base is of Stable Diffusion 1"):
        load.load_controlnet(str(run), small)
