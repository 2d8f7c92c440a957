"""A learner updates what is trained, measures without changing it, and hands over the weights to export."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.conftest import Segkit
from tests.trainer.learners import prepared
from tests.trainer.runs import same, words


def moved(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[str]:
    """Return the names of weights that differ."""
    return {name for name in before if not torch.equal(before[name], after[name])}


def test_a_step_moves_the_controlnet_only(base: Path, tmp_path: Path) -> None:
    """Warm-up scales the learning rate, AdamW moves by that rate, and the UNet stays frozen; the result is exported."""
    with prepared(base, tmp_path, warmup=4, accumulate=2) as training:
        before = training.weights()
        results = training.steps(0, 2)
        after = training.weights()
        metrics = training.learner.read_metrics(results[0], tmp_path)
        assert same(training.learner.final_model().state_dict(), after)

    assert {name.split(".")[0] for name in moved(before, after)} == {"controlnet"}
    assert [result.step for result in results] == [0, 1]
    assert [result.learning_rate for result in results] == pytest.approx([1e-3 / 4, 1e-3 / 2])
    assert [len(result.batches) for result in results] == [2, 2]
    assert metrics == {"loss": float(results[0].loss), "learning_rate": pytest.approx(1e-3 / 4)}
    bias = after["controlnet.controlnet_mid_block.bias"]
    assert 1e-4 < float(bias.abs().max()) <= 1.01 * (1e-3 / 4 + 1e-3 / 2)


def test_the_unlocked_base_has_its_own_learning_rate(base: Path, tmp_path: Path) -> None:
    """The first step of AdamW moves each weight by about its learning rate."""
    with prepared(base, tmp_path, sd_unlocked=True, decoder_learning_rate=1e-5, weight_decay=0.0) as training:
        before = training.weights()
        training.steps(0, 1)
        after = training.weights()

    for name, rate in (("controlnet.controlnet_mid_block.bias", 1e-3), ("unet.conv_out.bias", 1e-5)):
        assert float((after[name] - before[name]).abs().max()) == pytest.approx(rate, rel=0.05)
    assert {name.split(".")[1] for name in moved(before, after) if name.startswith("unet")} == {
        "up_blocks", "conv_norm_out", "conv_out"
    }  # fmt: skip


def test_measuring_changes_nothing(base: Path, tmp_path: Path) -> None:
    """Equal batches have equal losses before and after, and no weight changes."""
    with prepared(base, tmp_path) as training:
        before = training.weights()
        losses = [training.learner.measure(training.setup.batches, 2) for _ in range(2)]

        assert losses[0] == losses[1]
        assert len(set(losses[0])) == 2
        assert moved(before, training.weights()) == set()
        assert losses[0][0] == float(training.steps(0, 1)[0].loss)


def test_the_average_is_used_and_put_back(base: Path, tmp_path: Path) -> None:
    """Inference and the final model use the EMA; training goes on with its own weights, also after an error."""
    name = "controlnet.controlnet_mid_block.bias"

    def fail(model: torch.nn.Module) -> None:
        averages.append(model.state_dict()[name].clone())
        assert not torch.is_grad_enabled()
        raise torch.OutOfMemoryError

    averages: list[torch.Tensor] = []
    with prepared(base, tmp_path, ema=0.9) as training:
        training.steps(0, 1)
        before = training.weights()
        with pytest.raises(torch.OutOfMemoryError), training.learner.inference() as model:
            fail(model)
        after = training.weights()
        final = training.learner.final_model()

    # from zero, with the decay of the first update
    torch.testing.assert_close(averages[0], before[name] * (1 - 2 / 11))
    assert moved(before, after) == set()
    assert torch.equal(final.state_dict()[name], averages[0])


def test_a_loss_that_is_not_finite_ends_the_run(rooms: Path, base: Path, tmp_path: Path, segkit: Segkit) -> None:
    """With a learning rate far too high, the step's data is saved, and the checkpoint before it remains."""
    run = tmp_path / "run"
    done = segkit(*words(rooms, base, run, learning_rate=1e18, steps=20, checkpoint_every=1))

    assert done.code == 2
    assert "The loss is NaN or infinite at step" in done.err
    step = int(done.err.split("at step ")[1].split(".")[0])
    saved = load_file(run / f"not-finite-step-{step}-process-0.safetensors")
    assert saved["moments.0"].shape == (2, 2, 4, 8, 8)
    assert saved["controls.0"].shape == (2, 64, 64)
    assert (run / "checkpoints" / f"step-{step - 1:08}").is_dir()
