"""The reward: early timesteps, importance weights, the predicted photo, and where its gradient goes."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from segkit.errors import UsageError
from segkit.models import hub
from segkit.palette import Palette
from tests.conftest import Segkit
from tests.trainer.learners import prepared
from tests.trainer.runs import log, same, train, weights_of, words
from trainer.checkpoints import export, rewards
from trainer.data.batches import Batches
from trainer.evaluate import judging
from trainer.settings import TrainSettings
from trainer.step import distributed, reward
from trainer.step.noise import TIMESTEPS
from trainer.step.reward import Timesteps

ADE = Palette.load("ade20k")
REWARD: dict[str, Any] = {"reward": "toy", "reward_until": 700, "reward_share": 0.5, "reward_weight": 0.1}
REFL = REWARD | {"reward_steps": 2}
DRAWN = REFL | {"reward_gradient_steps": 0}
"""With pictures that are drawn from noise, and a gradient through their last prediction or through all of them."""
STEPS: dict[str, Any] = {"steps": 2, "checkpoint_every": 1}


@given(until=st.integers(0, 998), share=st.floats(0.01, 0.99), seed=st.integers(0, 99))
def test_the_weighted_expectation_is_the_uniform_one(until: int, share: float, seed: int) -> None:
    """The sum over all timesteps of probability times weight times any function is the function's plain mean."""
    timesteps = Timesteps(until, share)
    early = torch.arange(TIMESTEPS) <= until
    probabilities = torch.where(early, share / (until + 1), (1 - share) / (TIMESTEPS - until - 1)).double()
    values = torch.randn(TIMESTEPS, generator=torch.Generator().manual_seed(seed)).double()

    expectation = (probabilities * timesteps.weights(early).double() * values).sum()

    assert float(probabilities.sum()) == pytest.approx(1)
    assert float(expectation) == pytest.approx(float(values.mean()), abs=1e-4)


@given(until=st.sampled_from([0, 1, 200, 700, 998]), early=st.booleans())
def test_timesteps_are_uniform_on_their_side(until: int, early: bool) -> None:
    """An early timestep is at most `until`, another one is later, and their means are those of uniform draws."""
    generator = torch.Generator().manual_seed(until)
    drawn = torch.stack([Timesteps(until, 0.5).draw(early, generator) for _ in range(300)]).double()
    first, last = (0, until) if early else (until + 1, TIMESTEPS - 1)

    assert first <= drawn.min()
    assert drawn.max() <= last
    deviation = (last - first + 1) / 12**0.5 / 300**0.5
    assert float(drawn.mean()) == pytest.approx((first + last) / 2, abs=5 * deviation)


@pytest.mark.parametrize(("share", "size"), [(0.25, 4), (0.3, 2), (0.1, 1)])
def test_every_photo_is_rewarded_with_the_same_probability(rooms: Path, share: float, size: int) -> None:
    """It is the share; the number in a batch is that share of it, rounded; two processes agree with one."""
    from trainer.data import examples

    settings = TrainSettings(batch_size=size, resolution=64, reward="toy", reward_share=share)
    triples = examples.load(rooms, settings)
    chosen = np.array([Batches(triples.train, ADE, settings)._rewarded(number) for number in range(2000)])

    assert chosen.mean(0) == pytest.approx(share, abs=5 * (share * (1 - share) / 2000) ** 0.5)
    assert set(chosen.sum(1)) <= {int(np.floor(share * size)), int(np.ceil(share * size))}
    halves = [Batches(triples.train, ADE, replace(settings, batch_size=1), share=(rank, 2)) for rank in range(2)]
    pair = Batches(triples.train, ADE, replace(settings, batch_size=2))
    assert [np.concatenate([half._rewarded(n) for half in halves]).tolist() for n in range(20)] == [
        pair._rewarded(n).tolist() for n in range(20)
    ]


@pytest.mark.parametrize("options", [REWARD, REFL, DRAWN], ids=["photos", "last", "all"])
def test_the_gradient_reaches_the_controlnet_alone(base: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    """VAE, segmenter and UNet get none; the logged share is that of the two gradients computed apart."""
    with prepared(base, tmp_path, **options, batch_size=2, precision="fp32") as training:
        objective, model = training.learner._objective, training.setup.model
        batches = training.setup.batches

        def terms() -> Any:
            return objective.terms(model, batches.batch(3))

        norms = []
        for name in ("diffusion", "reward"):
            model.zero_grad()
            part = terms()
            getattr(part, name).backward()
            norms.append(part.sums[4:].sqrt())
            assert {key.split(".")[0] for key, weight in model.named_parameters() if weight.grad is not None} == {
                "controlnet"
            }
        whole = terms()
        whole.loss.backward()

    assert norms[0][1] == norms[1][0] == 0
    assert norms[1][1] > 0
    torch.testing.assert_close(whole.sums[4:].sqrt(), norms[0] + norms[1])
    metrics = reward.metrics(whole.sums.tolist())
    assert metrics["reward_gradient"] == pytest.approx(float(norms[1][1] / (norms[0] + norms[1]).sum()), rel=1e-5)
    assert 0 <= metrics["reward_agreement"] <= 1
    assert float(whole.reward.detach()) == pytest.approx(0.1 * metrics["reward_loss"])  # one photo of the expected one
    assert reward.metrics([0.0] * 6) == {}


@pytest.fixture(scope="module")
def whole(rooms: Path, base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An uninterrupted run with a reward for drawn pictures and an EMA. Do not modify it."""
    return train(rooms, base, tmp_path_factory.mktemp("reward") / "run", **DRAWN, **STEPS, ema=0.9)


@pytest.mark.parametrize("changed", [{"no_cache": True}, {"gradient_checkpointing": True}], ids=["cache", "checkpoint"])
def test_a_rewarded_run_is_exact(
    whole: Path, rooms: Path, base: Path, tmp_path: Path, segkit: Segkit, changed: dict[str, Any]
) -> None:
    """Resumed without the cache, or with recomputed activations, a run equals the uninterrupted one bit for bit."""
    first = segkit(*words(rooms, base, tmp_path / "run", **DRAWN, ema=0.9, steps=1, checkpoint_every=1))
    second = segkit(*words(rooms, base, tmp_path / "run", **DRAWN, **STEPS, ema=0.9, **changed))

    assert (first.code, second.code, second.err) == (0, 0, "")
    assert log(tmp_path / "run") == log(whole)
    assert same(weights_of(tmp_path / "run"), weights_of(whole))
    assert {"reward_loss", "reward_agreement", "reward_gradient"} <= log(whole)[0].keys()


def test_another_segmenter_does_not_resume(
    whole: Path, rooms: Path, base: Path, tmp_path: Path, segkit: Segkit
) -> None:  # fmt: skip
    """Neither one of another name nor one of the same name with other weights; the model card names it."""
    options = {**DRAWN, **STEPS, "ema": 0.9}
    named = segkit(*words(rooms, base, whole, **options | {"reward": "toy-judge"}))
    run = shutil.copytree(whole, tmp_path / "run")
    record = (run / "run.json").read_text()
    (run / "run.json").write_text(record.replace(hub.locate("toy", "segmenter").weights, "0" * 64))
    weighed = segkit(*words(rooms, base, run, **options))

    assert (named.code, weighed.code) == (2, 2)
    assert "--reward toy became --reward toy-judge" in named.err
    assert "the weights of the reward's segmenter have changed" in weighed.err
    assert "reward" in (whole / "model-card.md").read_text()


def test_a_judge_that_gave_the_reward_is_known(whole: Path, rooms: Path, base: Path, tmp_path: Path) -> None:
    """By run, result, checkpoint and exported file, and after a later training without a reward."""
    weights = hub.locate("toy", "segmenter").weights
    later = train(rooms, base, tmp_path / "later", controlnet=str(whole), steps=1, checkpoint_every=1)
    exported, moved = tmp_path / "exported.safetensors", tmp_path / "moved.safetensors"
    export.export(whole, "ldm", exported)
    shutil.copy(later / "later.safetensors", moved)
    rewarded = [whole, whole / "controlnet", whole / "checkpoints" / "step-00000001", exported, later, moved]

    assert all(rewards.of_controlnet(str(path)) == [weights] for path in rewarded)
    assert rewards.of_controlnet("fresh") == rewards.of_controlnet("owner/name") == []

    def conflict(segmenter: str, *controlnets: Path | str) -> str:
        identity = {"name": segmenter, "weights": hub.locate(segmenter, "segmenter").weights}
        return judging.reward_conflict(judging.Judge(lambda pictures: [], identity), list(map(str, controlnets)))

    assert f"also gave the reward in the training of {later}, {moved}, which" in conflict("toy", "fresh", later, moved)
    assert not conflict("toy", "fresh")
    assert not conflict("toy-judge", whole)


def test_bf16_and_velocity_are_rewarded(rooms: Path, base: Path, tmp_path: Path, segkit: Segkit) -> None:
    """A run in bf16 that predicts the velocity, and pictures from noisy photos, resumes bit for bit."""
    changed = {**REWARD, "precision": "bf16", "prediction": "v_prediction", "accumulate": 2, "no_reward_views": True}
    for run, steps in (("whole", 2), ("halves", 1), ("halves", 2)):
        done = segkit(*words(rooms, base, tmp_path / run, **changed, steps=steps, checkpoint_every=1))
        assert (done.code, done.err) == (0, "")
    assert log(tmp_path / "whole") == log(tmp_path / "halves")
    assert same(weights_of(tmp_path / "whole"), weights_of(tmp_path / "halves"))


def test_the_plan_counts_the_reward(rooms: Path, base: Path, tmp_path: Path, segkit: Segkit) -> None:
    """The dry run's memory has the weights of segmenter and VAE, which stay in memory."""
    plan = json.loads(segkit(*words(rooms, base, tmp_path / "run", **REWARD), "--dry-run", "--json").out)
    vae = sum(path.stat().st_size for path in (base / "vae").glob("*.safetensors"))

    assert 4 * 1_500_000 < plan["memory"]["reward"] < 4 * 1_600_000 + vae


def test_sampling_needs_whole_weights(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes with a part of the weights each would wait for each other: they sample different numbers of steps."""
    monkeypatch.setattr(distributed, "is_sharded", lambda _: True)
    with pytest.raises(UsageError, match="reward_steps=2: the weights are sharded"), prepared(base, tmp_path, **DRAWN):
        pass


def test_a_reward_needs_maps_and_a_segmenter(rooms: Path, base: Path, tmp_path: Path, segkit: Segkit) -> None:
    """A segmenter that does not exist is reported before the dataset is read."""
    done = segkit(*words(tmp_path / "no-dataset", base, tmp_path / "run", reward="./missing"))

    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "reward ./missing: no such folder" in done.err
