"""A training is prepared with what its settings ask for, and its cache is filled before the first step."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from segkit import storage
from segkit.errors import UsageError
from segkit.progress import silent
from tests.trainer.learners import prepared, two_photos
from trainer.checkpoints import load
from trainer.data.latents import Encoder
from trainer.run import setup
from trainer.settings import TrainSettings
from trainer.step.distributed import launched

SETTINGS = TrainSettings(
    controlnet="fresh", resolution=64, batch_size=1, evaluate_every=0, preview_every=0, cpu=True, precision="fp32"
)


def test_only_what_is_asked_for_is_prepared(base: Path, tmp_path: Path) -> None:
    """Without a cache the VAE and the text encoder stay in memory; validation and previews are optional."""
    loaded = load.load_base(str(base))
    with prepared(base, tmp_path) as bare:
        assert (bare.setup.base, bare.setup.truncated) == ("small", 0)
        assert (bare.setup.validation, bare.setup.previews) == (None, None)
        weights = [*loaded.vae.parameters(), *loaded.text_encoders[0].parameters()]
        assert bare.setup.encoder_bytes == 4 * sum(weight.numel() for weight in weights)


def test_a_filled_cache_replaces_the_encoders(base: Path, tmp_path: Path) -> None:
    """Batches come from the cache, truncated prompts are counted, and a second training finds everything cached."""
    settings = replace(SETTINGS, base=str(base), evaluate_every=1, preview_every=1)
    data = two_photos(tmp_path)
    data.train[0] = replace(data.train[0], text="x " * 80)
    data.train[:] = [replace(one, photo_hash=storage.sha256(one.photo.read_bytes())) for one in data.train]
    calls: list[tuple[str, int, int]] = []

    with launched(settings) as accelerator:
        training = setup.prepare(
            data, settings, accelerator, tmp_path / "run", None,
            lambda encoder: setup.fill_cache(
                tmp_path / "cache", data, settings, encoder, accelerator,
                lambda stage, done, total, *_: calls.append((stage.split(",")[0], done, total)),
            ),
        )  # fmt: skip
        batch = training.batches.batch(0)
        again = Encoder(load.load_base(str(base)), accelerator.device, torch.float32)
        cache = setup.fill_cache(tmp_path / "cache", data, settings, again, accelerator, silent)

    assert (training.encoder_bytes, training.truncated) == (0, 1)
    assert training.validation is not None
    assert training.previews is not None
    assert (batch.photos, batch.moments is None) == (None, False)
    assert {("prompts to cache", 3, 3), ("photos to cache", 4, 4)} <= set(calls)
    assert cache.missing(data, settings) == ([], [])


def test_a_cache_that_does_not_fit_is_refused_before_it_is_filled(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is encoded if the disk has too little space."""
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1000}))
    settings = replace(SETTINGS, base=str(base))
    with launched(settings) as accelerator:
        encoder = Encoder(load.load_base(str(base)), accelerator.device, torch.float32)
        with pytest.raises(UsageError, match="use cache=False"):
            setup.fill_cache(tmp_path / "cache", two_photos(tmp_path), settings, encoder, accelerator, silent)
    assert not list(tmp_path.rglob("*.bin"))
