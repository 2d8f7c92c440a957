"""Previews during training, and the run's report."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from segkit.models import hub
from tests.conftest import Segkit
from tests.trainer.runs import log, same, train, weights_of, words
from trainer.checkpoints import load
from trainer.data.latents import Decoder, Encoder
from trainer.run import report
from trainer.sample import sampler
from trainer.step.loss import ControlledUNet

DRAWN = {"steps": 4, "checkpoint_every": 2, "evaluate_every": 2, "preview_every": 2}


@pytest.fixture(scope="module")
def drawn(rooms: Path, base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of four steps with previews and validation. Do not modify it."""
    return train(rooms, base, tmp_path_factory.mktemp("drawn") / "run", **DRAWN)


def pictures(run: Path) -> dict[str, str]:
    """Return the hashes of a run's previews by path."""
    return {
        path.relative_to(run).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (run / "previews").rglob("*.png")
    }


def test_previews_are_saved_with_contact_sheets(drawn: Path) -> None:
    """The held-out map is drawn at steps 0, 2 and 4: a picture in the crop's size, and a contact sheet."""
    names = {f"previews/step-{step:08}{suffix}" for step in (0, 2, 4) for suffix in (".png", "/0.png")}
    assert pictures(drawn).keys() == names
    with Image.open(drawn / "previews" / "step-00000004" / "0.png") as picture:
        assert (picture.size, picture.mode) == ((64, 64), "RGB")
    with Image.open(drawn / "previews" / "step-00000004.png") as sheet:
        assert sheet.width == 4 * 208 + 8
        assert sheet.height > 200


def test_validation_and_previews_do_not_change_training(
    drawn: Path, rooms: Path, base: Path, tmp_path: Path, segkit: Segkit
) -> None:
    """Losses and weights equal those of a run without either; so do runs without a cache or with a stop."""
    bare = {**DRAWN, "evaluate_every": 0, "preview_every": 0}
    for run, options in (("bare", bare), ("plain", DRAWN | {"no_cache": True}), ("halves", DRAWN | {"steps": 2})):
        assert segkit(*words(rooms, base, tmp_path / run, **options)).code == 0
    assert segkit(*words(rooms, base, tmp_path / "halves", **DRAWN)).code == 0

    for run in ("bare", "plain", "halves"):
        assert same(weights_of(tmp_path / run), weights_of(drawn))
    assert [line["loss"] for line in log(tmp_path / "bare")] == [line["loss"] for line in log(drawn)]
    assert not (tmp_path / "bare" / "previews").exists()
    for run in ("plain", "halves"):
        assert log(tmp_path / run) == log(drawn)
        assert pictures(tmp_path / run) == pictures(drawn)


def test_the_sampler_equals_the_pipeline(base: Path) -> None:
    """From the same noise, latents equal those of diffusers' ControlNet pipeline, for both prediction types."""
    from diffusers import StableDiffusionControlNetPipeline

    loaded = load.load_base(str(base))
    controlnet = load.load_controlnet("fresh", loaded)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in controlnet.parameters():
            weight.add_(torch.randn(weight.shape, generator=generator) * 0.1)
    encoder = Encoder(loaded, torch.device("cpu"), torch.float32)
    control = torch.rand(3, 128, 64, generator=generator)
    noise = torch.randn(4, 16, 8, generator=generator)
    request = sampler.SampleRequest(noise, encoder.prompt("a room"), encoder.prompt(""), control)
    for prediction in ("epsilon", "v_prediction"):
        with hub.quiet():
            pipeline = StableDiffusionControlNetPipeline(
                loaded.vae, loaded.text_encoder, loaded.tokenizer, loaded.unet, controlnet,
                sampler.scheduler(prediction), safety_checker=None, feature_extractor=None,
                requires_safety_checker=False,
            )  # fmt: skip
            pipeline.set_progress_bar_config(disable=True)
            expected = pipeline(
                "a room", control[None], width=64, height=128, num_inference_steps=sampler.STEPS, guidance_scale=3.0,
                negative_prompt="", latents=noise[None].clone(), output_type="latent",
            ).images[0]  # fmt: skip
        with torch.no_grad():
            latents = sampler.sample(ControlledUNet(controlnet, loaded.unet), request, prediction, 3.0)
        torch.testing.assert_close(latents, expected, rtol=1e-4, atol=1e-4)


def test_the_decoder_undoes_the_scaling(base: Path) -> None:
    """Scaled latents are decoded like unscaled ones by the VAE, with or without the encoder in memory."""
    loaded = load.load_base(str(base))
    latents = torch.randn(4, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        pixels = loaded.vae.decode(latents[None] / loaded.vae.config.scaling_factor).sample[0]
    expected = ((pixels + 1) * 127.5).round().clamp(0, 255).byte().permute(1, 2, 0).numpy()

    encoder = Encoder(loaded, torch.device("cpu"), torch.float32)
    for alone in (False, True):
        assert encoder.decoder(alone).picture(latents).tobytes() == expected.tobytes()
    assert loaded.vae.encoder is None


def test_running_out_of_memory_for_previews_does_not_end_the_run(
    rooms: Path, base: Path, tmp_path: Path, segkit: Segkit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Decoding falls back to the CPU; if sampling fails, previews are skipped and the log says so."""

    def out_of_memory(*args: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    original, devices = Decoder._decoded, list[str]()

    def fail_once(self: Decoder, latents: Any, device: Any) -> Any:
        devices.append(str(device))
        return out_of_memory() if len(devices) == 1 else original(self, latents, device)

    monkeypatch.setattr(Decoder, "_decoded", fail_once)
    assert segkit(*words(rooms, base, tmp_path / "slow", steps=1, preview_every=9)).code == 0
    assert devices[:2] == ["cpu", "cpu"]
    assert (tmp_path / "slow" / "previews" / "step-00000000" / "0.png").is_file()

    monkeypatch.setattr("trainer.sample.sampler.sample", out_of_memory)
    done = segkit(*words(rooms, base, tmp_path / "run", steps=1, preview_every=1))
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert done.code == 0
    assert all("previews skipped: out of memory" in line["says"] for line in lines)


def test_a_report_is_self_contained(drawn: Path) -> None:
    """The page has curves, the latest sheet, the verdict and the options, but no script and no external link."""
    text = (drawn / "report.html").read_text()

    assert "run: 4 of 4 steps" in text
    assert text.count("<svg") == 4
    assert "data:image/png;base64," in text
    assert "control gap" in text
    assert "held out loss" in text
    assert "<script" not in text
    assert "http" not in text.replace('http-equiv="', "")


def test_a_report_escapes_html(drawn: Path, tmp_path: Path) -> None:
    """Names of runs, bases and options are escaped; an incomplete last line of the log is ignored."""
    run = shutil.copytree(drawn, tmp_path / "<img src=x onerror=alert(1)>")
    with (run / "log.jsonl").open("a") as file:
        file.write('{"step": 5, "lo')

    page = report.write(run, {"steps": 9, "name": "<b>mine</b>"}, {"base": "<i>"}).read_text()

    assert "4 of 9 steps" in page
    assert "<b>" not in page
    assert "<i>" not in page
    assert "<img src=x" not in page
