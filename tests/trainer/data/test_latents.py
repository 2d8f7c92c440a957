"""Photos and prompts are encoded alone, cached by what they depend on, and decoded again."""

import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from segkit import storage
from segkit.errors import UsageError
from segkit.palette import Palette
from segkit.progress import silent
from tests.conftest import Models, Segkit
from tests.trainer.conftest import base_folder
from tests.trainer.data.test_batches import example
from tests.trainer.runs import log, same, weights_of, words
from trainer.checkpoints import load
from trainer.data import crops, latents
from trainer.data.batches import Batches
from trainer.data.examples import Examples
from trainer.data.latents import Encoder, LatentCache
from trainer.settings import TrainSettings

pytestmark = pytest.mark.usefixtures("short_callbacks")

ADE = Palette.load("ade20k")
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def encoder(base: Path) -> Encoder:
    """The encoder of the small base, in fp32."""
    return Encoder(load.load_base(str(base)), CPU, torch.float32)


def test_a_photo_is_encoded_as_by_the_vae(base: Path, encoder: Encoder) -> None:
    """Mean and log-variance are the VAE's, without its scaling factor."""
    photo = torch.rand(3, 64, 128, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        expected = load.load_base(str(base)).vae.encode(photo[None]).latent_dist

    moments = encoder.photo(photo)

    assert torch.equal(moments, torch.stack([expected.mean[0], expected.logvar[0]]))
    assert moments.shape == (2, 4, 8, 16)


def test_a_prompt_is_encoded_as_by_the_text_encoder(base: Path, encoder: Encoder) -> None:
    """The embedding is that of the padded tokens; a prompt that is too long is truncated, and counted."""
    loaded = load.load_base(str(base))
    tokens = loaded.tokenizers[0]("a room", padding="max_length", max_length=77, return_tensors="pt").input_ids
    with torch.no_grad():
        expected = loaded.text_encoders[0](tokens)[0][0]

    assert torch.equal(encoder.prompt("a room"), expected)
    assert torch.equal(encoder.prompt("x " * 75), encoder.prompt("x " * 75 + "y"))
    assert encoder.count_truncated(["", "x " * 75, "x " * 76, "x " * 500]) == 2


def test_sizes_are_those_of_the_tensors(base: Path, encoder: Encoder) -> None:
    """The predicted bytes are those of the encoded photo and prompt; in 16 bits they are half as many."""
    photo, prompt = encoder.photo(torch.zeros(3, 64, 128)), encoder.prompt("")
    half = Encoder(load.load_base(str(base)), CPU, torch.bfloat16)
    rounded = Encoder(load.load_base(str(base)), CPU, torch.float32, "fp16")

    assert encoder.sizes(64 * 128) == (photo.nbytes, prompt.nbytes)
    assert half.sizes(64 * 128) == (photo.nbytes // 2, prompt.nbytes // 2)
    assert rounded.sizes(64 * 128) == half.sizes(64 * 128)
    assert all(name.endswith("-bfloat16") for name in half.folders())
    assert all(name.endswith("-float32-as-float16") for name in rounded.folders())


def test_results_are_what_the_cache_can_hold(base: Path, encoder: Encoder) -> None:
    """Rounded to the cache's numbers, they keep the dtype of the arithmetic; nothing else about them changes."""
    photo = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    for name, dtype in (("fp16", torch.float16), ("bf16", torch.bfloat16)):
        rounded = Encoder(load.load_base(str(base)), CPU, torch.float32, name)  # type: ignore[arg-type]
        for result, plain in (
            (rounded.photo(photo), encoder.photo(photo)),
            (rounded.prompt("a room"), encoder.prompt("a room")),
        ):
            assert result.dtype == torch.float32
            assert torch.equal(result, plain.to(dtype).float())
            assert not torch.equal(result, plain)


@pytest.mark.parametrize("force_upcast", [True, False])
def test_the_vae_of_sdxl_computes_in_full(sdxl: Path, force_upcast: bool) -> None:
    """In bf16 and within an autocast it stays in fp32, unless its configuration says that it need not."""
    loaded = load.load_base(str(sdxl))
    loaded.vae.register_to_config(force_upcast=force_upcast)
    photo = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        expected = loaded.vae.encode(photo[None]).latent_dist.mean[0].bfloat16()
    encoder = Encoder(loaded, CPU, torch.bfloat16)

    with torch.autocast("cpu", torch.bfloat16):
        moments = encoder.photo(photo)

    assert (moments.dtype, loaded.vae.dtype) == (torch.bfloat16, torch.float32 if force_upcast else torch.bfloat16)
    assert torch.equal(moments[0], expected) == force_upcast
    assert encoder.folders()[0].endswith("-float32-as-bfloat16" if force_upcast else "-bfloat16")


def test_a_prompt_of_sdxl_is_cached_with_its_pooled_embedding(sdxl: Path, tmp_path: Path) -> None:
    """One tensor has both, bit for bit; the empty prompt is zero throughout, and another padding is another cache."""
    loaded = load.load_base(str(sdxl))
    encoder = Encoder(loaded, CPU, torch.float32)
    cache = LatentCache(tmp_path, encoder)
    cache.fill([], ["", "a room"], encoder, silent)

    prompts = cache.prompts(["a room", ""])

    hidden_states, more = loaded.conditioning.inputs(prompts, None)
    assert torch.equal(prompts[0], encoder.prompt("a room"))
    assert prompts[0].nbytes == encoder.sizes(0)[1]
    assert (hidden_states.shape, more["added_cond_kwargs"]["text_embeds"].shape) == ((2, 77, 64), (2, 40))
    assert prompts[0].count_nonzero() > 0 == prompts[1].count_nonzero()
    folder = encoder.folders()[1]
    loaded.tokenizers[1].pad_token = "?"
    assert encoder.folders()[1] != folder


def test_only_what_is_drawn_is_cached(tmp_path: Path, encoder: Encoder) -> None:
    """Without cached mirror images, the cache holds each photo once, and batches bring the photos that it lacks."""
    pair = [example(tmp_path, seed, (96, 64)) for seed in (1, 2)]
    train = [replace(one, photo_hash=storage.sha256(one.photo.read_bytes())) for one in pair]
    options = TrainSettings(resolution=64, batch_size=2, flip_cache=False, steps=8)
    data, cache = Examples("fill50k", train, [], ADE), LatentCache(tmp_path / "cache", encoder)
    photos, prompts = cache.missing(data, options)
    cache.fill(photos, prompts, encoder, silent)

    assert [view.mirrored for _, view in photos] == [False, False]
    numbers = set()
    for number in range(8):
        picks = Batches(train, ADE, options).picks(number)
        batch, whole = (Batches(train, ADE, options, cache=filled).batch(number) for filled in (cache, None))
        lacking = [place for place, pick in enumerate(picks) if pick.view.mirrored]
        numbers.add(len(lacking))
        assert (batch.photos is None) == (not lacking)
        assert not lacking or torch.equal(batch.require_photos(), whole.require_photos()[lacking])
        assert batch.cached is None or batch.cached.tolist() == [not pick.view.mirrored for pick in picks]
    assert numbers == {0, 1, 2}


def test_the_cache_returns_what_the_encoder_computes(tmp_path: Path, encoder: Encoder) -> None:
    """Filled once, it lacks nothing: both mirrorings, held-out photos and the empty prompt are in it, bit for bit."""
    pair = [example(tmp_path, seed, (96, 64)) for seed in (1, 2)]
    train, held_out = (replace(one, photo_hash=storage.sha256(one.photo.read_bytes())) for one in pair)
    data = Examples("fill50k", [train], [held_out], ADE)
    options = TrainSettings(resolution=64)
    cache, calls = LatentCache(tmp_path / "cache", encoder), list[tuple[Any, ...]]()

    photos, prompts = cache.missing(data, options)
    predicted = latents.size(photos, prompts, encoder)
    cache.fill(photos, prompts, encoder, lambda *call: calls.append(call))

    assert [(one.text, view.mirrored) for one, view in photos] == [
        ("photo 1", False), ("photo 1", True), ("photo 2", False)
    ]  # fmt: skip
    assert prompts == ["", "photo 1", "photo 2"]
    assert LatentCache(tmp_path / "cache", encoder).missing(data, options) == ([], [])
    assert LatentCache(tmp_path / "cache", encoder).missing(data, replace(options, resolution=128))[1] == []
    assert len(cache.missing(data, replace(options, resolution=128))[0]) == 3
    expected = torch.stack([encoder.photo(crops.photo(one, view)) for one, view in photos])
    assert torch.equal(cache.photos(photos), expected)
    assert torch.equal(cache.prompt("photo 2"), encoder.prompt("photo 2"))
    assert ("prompts to cache", 3, 3) in calls
    assert calls[-1][1:] == (3, 3)
    assert predicted == sum(path.stat().st_size for path in (tmp_path / "cache").rglob("*.bin"))


def test_a_cache_has_its_place(tmp_path: Path) -> None:
    """Later runs find the cache of a dataset; for other layouts it is in the run, unless a folder is set."""
    data, run, settings = Examples("segkit", [], [], None), tmp_path / "run", TrainSettings()
    elsewhere = TrainSettings(cache_dir=str(tmp_path / "fast"))

    assert latents.folder_for(data, tmp_path, settings, run) == tmp_path / ".segkit" / "cache"
    assert latents.folder_for(replace(data, layout="kohya"), tmp_path, settings, run) == run / "cache"
    assert latents.folder_for(data, tmp_path, elsewhere, run) == tmp_path / "fast"


def test_space_is_needed_only_for_what_is_written(tmp_path: Path) -> None:
    """A folder that does not exist yet is judged by its disk."""
    latents.require_space(tmp_path / "not" / "yet", 1)
    with pytest.raises(UsageError, match=r"The cache takes 1000000 TB, and .* are free at .*cache=False"):
        latents.require_space(tmp_path / "not" / "yet", 10**18)


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


@pytest.mark.parametrize(
    "changed",
    [
        {"evaluate_every": 1000, "cache_dtype": "fp16"},
        {"precision": "bf16", "prompt_dropout": 0.5},
        {"prediction": "v_prediction", "min_snr": 5, "no_flip": True},
    ],
    ids=["rounded", "bf16", "v"],
)
def test_a_cache_changes_nothing(
    rooms: Path, base: Path, tmp_path: Path, segkit: Segkit, changed: dict[str, Any]
) -> None:
    """Losses and weights are equal bit for bit with a cache, without one, resumed without it, or half without it."""
    short = {"steps": 2, "checkpoint_every": 1} | changed
    ways: list[tuple[str, dict[str, Any]]] = [
        ("cached", {}),
        ("plain", {"no_cache": True}),
        ("mixed", {"steps": 1}),
        ("mixed", {"no_cache": True}),
    ]
    if "no_flip" not in changed:
        ways.append(("unflipped", {"no_flip_cache": True, "cache_dir": tmp_path / "unflipped-cache"}))
    for run, options in ways:
        done = segkit(*words(rooms, base, tmp_path / run, **short | options))
        assert (done.code, done.err) == (0, "")
    for run in {run for run, _ in ways}:
        assert log(tmp_path / run) == log(tmp_path / "cached")
        assert same(weights_of(tmp_path / run), weights_of(tmp_path / "cached"))


def test_a_cache_serves_the_next_run_and_no_other_base(
    rooms: Path, base: Path, models: Models, tmp_path: Path, segkit: Segkit
) -> None:
    """The cache is in the dataset; the same photos and base add nothing to it, another base has a cache of its copy."""
    copy = shutil.copytree(rooms, tmp_path / "rooms", ignore=shutil.ignore_patterns("cache"))
    other = base_folder(tmp_path / "other", models.clip, seed=1)

    def segments() -> set[Path]:
        return set((copy / ".segkit" / "cache").rglob("*.bin"))

    assert segkit(*words(copy, base, tmp_path / "one", steps=1)).code == 0
    first = segments()
    assert segkit(*words(copy, base, tmp_path / "two", steps=1, learning_rate=1e-4)).code == 0
    assert segments() == first
    assert segkit(*words(copy, other, tmp_path / "three", steps=1)).code == 0
    assert len(segments()) == len(first) + 2
    assert len({path.parent for path in segments()}) == 4
    assert segkit("check", str(copy)).code == 0


def test_a_cache_that_does_not_fit_is_refused(
    rooms: Path, base: Path, tmp_path: Path, segkit: Segkit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message states the size, the free space and how to train without a cache."""
    copy = shutil.copytree(rooms, tmp_path / "rooms", ignore=shutil.ignore_patterns("cache"))
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1000}))
    done = segkit(*words(copy, base, tmp_path / "run"))
    assert done.code == 2
    assert re.search(r"The cache takes [\d.]+ kB, and 1 kB are free", done.err)
    assert "use --no-cache" in done.err
    assert segkit(*words(copy, base, tmp_path / "run", no_cache=True, steps=1)).code == 0
