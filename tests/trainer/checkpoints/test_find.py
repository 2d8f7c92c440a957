"""Bases and ControlNets are found, or refused, before anything slow starts."""

import json
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest

from segkit.models import hub
from tests.conftest import Segkit
from trainer.checkpoints import find
from trainer.data import examples
from trainer.sample import controls
from trainer.settings import SEG


@pytest.mark.parametrize(
    ("files", "stem", "expected"),
    [
        (["diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.fp16.safetensors"],
         "diffusion_pytorch_model*", {"diffusion_pytorch_model.safetensors"}),
        (["diffusion_pytorch_model.fp16.safetensors", "diffusion_pytorch_model.bin", "samples/a.png"],
         "diffusion_pytorch_model*", {"diffusion_pytorch_model.fp16.safetensors"}),
        (["diffusion_pytorch_model.bin", "old/diffusion_pytorch_model.safetensors"],
         "diffusion_pytorch_model*", {"diffusion_pytorch_model.bin"}),
        (["unet/diffusion_pytorch_model.bin", "vae/diffusion_pytorch_model.bin", "v1.ckpt"],
         "*/*", {"unet/diffusion_pytorch_model.bin", "vae/diffusion_pytorch_model.bin"}),
        (["unet/diffusion_pytorch_model.safetensors", "unet/diffusion_pytorch_model.bin", "v1.safetensors"],
         "*/*", {"unet/diffusion_pytorch_model.safetensors"}),
    ],
)  # fmt: skip
def test_pickles_are_downloaded_only_if_there_is_nothing_else(files: list[str], stem: str, expected: set[str]) -> None:
    """Of a repository, .safetensors files are preferred, and a whole full file is enough."""
    patterns = find._weights_patterns(files, stem)
    assert {name for name in files if any(fnmatch(name, pattern) for pattern in patterns)} == expected


@pytest.mark.parametrize(
    ("arguments", "start", "end"),
    [
        (["train", "--base", "toy"], f"--controlnet {SEG} was made for", "Use --controlnet fresh"),
        (["train", "--base", "toy-sdxl"], f"--controlnet {SEG} was made for", "base toy-sdxl. Use --controlnet fresh"),
        (["train"], f"--controlnet {SEG} is not in the cache and", "; otherwise use --controlnet fresh"),
        (
            ["train", "--dry-run", "--base", "toy", "--controlnet", "nope"],
            "--controlnet nope: no such file",
            "or fresh.",
        ),
        (["train", "--controlnet", "nope"], "--controlnet nope: no such file or folder.", "or fresh."),
        (["train", "--base", "nope", "--controlnet", "fresh"], "--base nope: no such file or", "such as OWNER/NAME."),
        (["generate", "--base", "toy"], f"--controlnet {SEG} was made for", "as in --controlnet RUN"),
        (["generate"], f"--controlnet {SEG} is not in the cache and", "as in --controlnet RUN"),
        (["generate", "--controlnet", "nope"], "--controlnet nope: no such file or folder.", "or fresh."),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_missing_networks_are_reported_before_pictures_are_decoded(
    segkit: Segkit, rooms: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], start: str, end: str
) -> None:
    """The message blames the network that is missing, and says what to use instead."""

    def too_late(*args: Any) -> None:
        pytest.fail("the dataset was read first")

    monkeypatch.setattr(hub, "hub_answers", lambda: False)
    monkeypatch.setattr(examples, "load", too_late)
    monkeypatch.setattr(controls, "require_drawable", too_late)
    name, *options = arguments

    done = segkit(name, *(["--map"] if name == "generate" else []), rooms, *options)

    assert done.code == 2
    assert done.err.startswith(start)
    assert done.err.rstrip().endswith(end)


@pytest.mark.parametrize("command", ["train", "generate"])
def test_networks_that_do_not_fit_are_refused_before_pictures_are_decoded(
    segkit: Segkit, rooms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """Families are named rather than what differs between them; a missing or foreign VAE is refused as early."""

    def too_late(*args: Any) -> None:
        pytest.fail("the dataset was read first")

    monkeypatch.setattr(examples, "load", too_late)
    monkeypatch.setattr(controls, "require_drawable", too_late)
    sdxl = {"_class_name": "ControlNetModel", "addition_embed_type": "text_time", "use_linear_projection": True}
    (tmp_path / "config.json").write_text(json.dumps(sdxl))
    base = hub.shipped("base")
    words = [command, *(["--map"] if command == "generate" else []), rooms, "--base", "toy", "--controlnet"]

    foreign = segkit(*words, tmp_path)
    missing = segkit(*words, "fresh", "--vae", "nope")
    another = segkit(*words, "fresh", "--vae", base / "unet")

    assert "made for Stable Diffusion XL, the base is of Stable Diffusion 1. Use a ControlNet that was" in foreign.err
    assert missing.err.startswith("--vae nope: no such file or folder.")
    assert str(base / "unet") in another.err
    assert [result.code for result in (foreign, missing, another)] == [2, 2, 2]
