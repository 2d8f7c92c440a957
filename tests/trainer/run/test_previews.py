"""Pictures drawn while a network learns, and the run's report."""

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
    """A run of four steps with pictures and looks. Do not change it."""
    return train(rooms, base, tmp_path_factory.mktemp("drawn") / "run", **DRAWN)


def pictures(run: Path) -> dict[str, str]:
    """Return a hash of each picture of a run."""
    return {
        path.relative_to(run).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (run / "previews").rglob("*.png")
    }


def test_pictures_stand_beside_those_of_the_start(drawn: Path) -> None:
    """The held-out photo at steps 0, 2 and 4: a sheet each, and the picture itself, in the size of the crop."""
    names = {f"previews/step-{step:08}{end}" for step in (0, 2, 4) for end in (".png", "/0.png")}
    assert pictures(drawn).keys() == names
    with Image.open(drawn / "previews" / "step-00000004" / "0.png") as picture:
        assert (picture.size, picture.mode) == ((64, 64), "RGB")
    with Image.open(drawn / "previews" / "step-00000004.png") as sheet:
        assert sheet.width == 4 * 208 + 8
        assert sheet.height > 200


def test_looking_and_drawing_change_nothing(
    drawn: Path, rooms: Path, base: Path, tmp_path: Path, segkit: Segkit
) -> None:
    """Losses and weights are those of a run that looks nowhere; without a cache, and after a stop, all is the same."""
    blind = {**DRAWN, "evaluate_every": 0, "preview_every": 0}
    for run, more in (("blind", blind), ("plain", DRAWN | {"no_cache": True}), ("halves", DRAWN | {"steps": 2})):
        assert segkit(*words(rooms, base, tmp_path / run, **more)).code == 0
    assert segkit(*words(rooms, base, tmp_path / "halves", **DRAWN)).code == 0

    for run in ("blind", "plain", "halves"):
        assert same(weights_of(tmp_path / run), weights_of(drawn))
    assert [line["loss"] for line in log(tmp_path / "blind")] == [line["loss"] for line in log(drawn)]
    assert not (tmp_path / "blind" / "previews").exists()
    for run in ("plain", "halves"):
        assert log(tmp_path / run) == log(drawn)
        assert pictures(tmp_path / run) == pictures(drawn)


def test_the_sampler_draws_what_the_pipeline_draws(base: Path) -> None:
    """Latents from the same noise are those of diffusers' ControlNet pipeline, for noise and for velocity."""
    from diffusers import StableDiffusionControlNetPipeline

    found = load.load_base(str(base))
    controlnet = load.load_controlnet("fresh", found)
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in controlnet.parameters():
            weight.add_(torch.randn(weight.shape, generator=draw) * 0.1)
    encoder = Encoder(found, torch.device("cpu"), torch.float32)
    control = torch.rand(3, 128, 64, generator=draw)
    noise = torch.randn(4, 16, 8, generator=draw)
    asked = sampler.SampleRequest(noise, encoder.prompt("a room"), encoder.prompt(""), control)
    for prediction in ("epsilon", "v_prediction"):
        with hub.quiet():
            pipeline = StableDiffusionControlNetPipeline(
                found.vae, found.text_encoder, found.tokenizer, found.unet, controlnet, sampler.scheduler(prediction),
                safety_checker=None, feature_extractor=None, requires_safety_checker=False,
            )  # fmt: skip
            pipeline.set_progress_bar_config(disable=True)
            expected = pipeline(
                "a room", control[None], width=64, height=128, num_inference_steps=sampler.STEPS, guidance_scale=3.0,
                negative_prompt="", latents=noise[None].clone(), output_type="latent",
            ).images[0]  # fmt: skip
        with torch.no_grad():
            own = sampler.sample(ControlledUNet(controlnet, found.unet), asked, prediction, 3.0)
        torch.testing.assert_close(own, expected, rtol=1e-4, atol=1e-4)


def test_a_decoder_undoes_the_scale(base: Path) -> None:
    """Latents that the encoder's scale was put on come back as the VAE decodes them, alone or beside the encoder."""
    found = load.load_base(str(base))
    latents = torch.randn(4, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        pixels = found.vae.decode(latents[None] / found.vae.config.scaling_factor).sample[0]
    expected = ((pixels + 1) * 127.5).round().clamp(0, 255).byte().permute(1, 2, 0).numpy()

    encoder = Encoder(found, torch.device("cpu"), torch.float32)
    for alone in (False, True):
        assert encoder.decoder(alone).picture(latents).tobytes() == expected.tobytes()
    assert found.vae.encoder is None


def test_memory_that_is_too_small_for_pictures_ends_nothing(
    rooms: Path, base: Path, tmp_path: Path, segkit: Segkit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are left out, the log says so, and the run goes on; decoding goes to the CPU first."""

    def too_large(*asked: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    decoded, places = Decoder._decoded, list[str]()

    def once(self: Decoder, latents: Any, device: Any) -> Any:
        places.append(str(device))
        return too_large() if len(places) == 1 else decoded(self, latents, device)

    monkeypatch.setattr(Decoder, "_decoded", once)
    assert segkit(*words(rooms, base, tmp_path / "slow", steps=1, preview_every=9)).code == 0
    assert places[:2] == ["cpu", "cpu"]
    assert (tmp_path / "slow" / "previews" / "step-00000000" / "0.png").is_file()

    monkeypatch.setattr("trainer.sample.sampler.sample", too_large)
    done = segkit(*words(rooms, base, tmp_path / "run", steps=1, preview_every=1))
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert done.code == 0
    assert all("pictures are left out" in line["says"] for line in lines)


def test_a_report_needs_nothing_else(drawn: Path) -> None:
    """Curves, the newest sheet, the words and the options stand in the page; no script, no address to load."""
    text = (drawn / "report.html").read_text()

    assert "run: 4 of 4 steps" in text
    assert text.count("<svg") == 4
    assert "data:image/png;base64," in text
    assert "control gap" in text
    assert "held out loss" in text
    assert "<script" not in text
    assert "http" not in text.replace('http-equiv="', "")


def test_text_stays_text_in_a_report(drawn: Path, tmp_path: Path) -> None:
    """Names of runs, bases and options are never taken for HTML; a log that a kill cut short is read."""
    run = shutil.copytree(drawn, tmp_path / "<img src=x onerror=alert(1)>")
    with (run / "log.jsonl").open("a") as file:
        file.write('{"step": 5, "lo')

    page = report.write(run, {"steps": 9, "name": "<b>mine</b>"}, {"base": "<i>"}).read_text()

    assert "4 of 9 steps" in page
    assert "<b>" not in page
    assert "<i>" not in page
    assert "<img src=x" not in page
