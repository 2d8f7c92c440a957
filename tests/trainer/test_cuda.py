"""segkit train and generate on a GPU agree with fp32 on the CPU, up to the rounding of bf16 and fp16."""

import json
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from segkit.maps import codec
from segkit.palette import Palette
from tests import gpu
from tests.conftest import Result, Segkit
from tests.trainer.runs import log, weights_of, words
from trainer.checkpoints import export, load
from trainer.data.paint import PalettePainter

pytestmark = pytest.mark.cuda

STEPS = 2 if gpu.ON_CPU else 20
RATE = 1e-4
BF16 = 2.0**-8
"""Relative error of a single rounding."""

OPTIONS: dict[str, Any] = {
    "steps": STEPS, "learning_rate": RATE, "checkpoint_every": STEPS // 2, "preview_every": 0, "evaluate_every": 0,
    "precision": "fp32" if gpu.emulates_bf16() else "bf16",
}  # fmt: skip


def losses(run: Path) -> list[float]:
    """Return the loss of each step."""
    return [line["loss"] for line in log(run)]


def require_done(done: Result) -> None:
    """Assert that a command succeeded; output of libraries on stderr becomes a warning."""
    assert done.code == 0, done.err
    if done.err:
        warnings.warn(f"on stderr: {done.err}", stacklevel=2)


@pytest.fixture(scope="module")
def reference(rooms: Path, base: Path, tmp_path_factory: pytest.TempPathFactory) -> list[float]:
    """The losses of the same steps on the CPU in fp32."""
    from trainer import loop
    from trainer.settings import TrainSettings

    run = tmp_path_factory.mktemp("reference") / "run"
    settings = TrainSettings(
        base=str(base), controlnet="fresh", resolution=64, batch_size=2, steps=STEPS, learning_rate=RATE, cpu=True,
        precision="fp32", evaluate_every=0, preview_every=0,
    )  # fmt: skip
    loop.train(rooms, run, settings)
    return losses(run)


@pytest.fixture(scope="module")
def whole(rooms: Path, base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run in bf16 with cache, previews and validation. Do not modify it."""
    from trainer import loop
    from trainer.settings import TrainSettings

    run = tmp_path_factory.mktemp("whole") / "run"
    options = OPTIONS | {"preview_every": STEPS // 2, "evaluate_every": STEPS // 2}
    settings = TrainSettings(base=str(base), controlnet="fresh", resolution=64, batch_size=2, **options)
    loop.train(rooms, run, settings)
    return run


def test_training_follows_the_cpu(whole: Path, reference: list[float]) -> None:
    """In bf16, from the cache, every loss is within 2 % of the CPU's in fp32."""
    assert losses(whole) == pytest.approx(reference, rel=2e-2)
    if not gpu.ON_CPU:
        assert all(line["memory_gb"] > 0 for line in log(whole))


def test_previews_and_validation(whole: Path) -> None:
    """Held-out maps are drawn at the start, halfway and at the end; every validation is finite."""
    for step in (0, STEPS // 2, STEPS):
        folder = whole / "previews" / f"step-{step:08}"
        pictures = [np.asarray(Image.open(path)) for path in sorted(folder.glob("*.png"))]
        assert pictures
        assert all(picture.std() > 1 for picture in pictures)
    validations = [line for line in log(whole) if line["step"] % (STEPS // 2) == 0]
    assert len(validations) == 2
    assert all(np.isfinite([line["held_out_loss"], line["control_gap"]]).all() for line in validations)


@pytest.mark.parametrize(
    "changed",
    [
        {"precision": OPTIONS["precision"]},
        {"compile": True},
        {"no_cache": True, "gradient_checkpointing": True, "ema": 0.9},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_a_resumed_run_equals_an_uninterrupted_one(
    rooms: Path, base: Path, tmp_path: Path, segkit: Segkit, reference: list[float], changed: dict[str, Any]
) -> None:
    """Losses and weights of a resumed run equal those of an uninterrupted one within bf16's rounding."""
    with torch.compiler.set_stance("force_eager" if gpu.ON_CPU else "default"):
        for run, steps in (("one", STEPS), ("two", STEPS // 2), ("two", STEPS)):
            options = OPTIONS | {"steps": steps} | changed
            done = segkit(*words(rooms, base, tmp_path / run, **options), "--json")
            require_done(done)

    assert json.loads(done.out)["resumed"] == STEPS // 2
    assert losses(tmp_path / "one") == pytest.approx(reference, rel=2e-2)
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=BF16)
    one, two = weights_of(tmp_path / "one"), weights_of(tmp_path / "two")
    for name, weight in one.items():  # AdamW moves a weight by at most its learning rate, even if rounding flips a sign
        torch.testing.assert_close(two[name], weight, rtol=BF16, atol=2 * RATE * STEPS // 2)


@pytest.mark.skipif(bool(gpu.only()), reason=gpu.only() or "a GPU is here")
def test_fp16_trains_with_a_loss_scale(
    rooms: Path, base: Path, tmp_path: Path, segkit: Segkit, reference: list[float]
) -> None:
    """fp16 uses a loss scale against vanishing gradients, which the checkpoint saves and restores."""
    for steps in (STEPS // 2, STEPS):
        options = OPTIONS | {"precision": "fp16", "steps": steps}
        done = segkit(*words(rooms, base, tmp_path / "run", **options))
        require_done(done)

    state = json.loads((tmp_path / "run" / "checkpoints" / f"step-{STEPS:08}" / "state.json").read_text())
    assert state["scaler"]["scale"] > 1
    assert losses(tmp_path / "run") == pytest.approx(reference, rel=2e-2)
    assert all(bool(weight.isfinite().all()) for weight in weights_of(tmp_path / "run").values())


@pytest.mark.skipif(bool(gpu.only()), reason=gpu.only() or "a GPU is here")
@pytest.mark.skipif(find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed")
def test_8_bit_adamw(rooms: Path, base: Path, tmp_path: Path, segkit: Segkit, reference: list[float]) -> None:
    """8-bit AdamW follows PyTorch's, and a run resumes from its 8-bit state."""
    for run, steps in (("one", STEPS), ("two", STEPS // 2), ("two", STEPS)):
        options = OPTIONS | {"optimizer": "adamw8bit", "steps": steps}
        done = segkit(*words(rooms, base, tmp_path / run, **options))
        require_done(done)

    assert losses(tmp_path / "one") == pytest.approx(reference, rel=2e-2)
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), rel=BF16)


@pytest.mark.skipif(bool(gpu.only()), reason=gpu.only() or "a GPU is here")
def test_out_of_memory_is_reported(rooms: Path, base: Path, tmp_path: Path, segkit: Segkit) -> None:
    """Below the memory that a step needs, one line says what to change; with more, the same run resumes."""
    arguments = words(rooms, base, tmp_path / "run", batch_size=4, resolution=256, preview_every=0, steps=1)
    torch.cuda.reset_peak_memory_stats()
    unlimited = words(rooms, base, tmp_path / "free", batch_size=4, resolution=256, preview_every=0, steps=1)
    assert segkit(*unlimited).code == 0
    needed = torch.cuda.max_memory_allocated()
    torch.cuda.empty_cache()
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_allocated() + needed) / 2 / total)
    try:
        capped = segkit(*arguments)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    after = segkit(*arguments)

    assert (capped.code, after.code) == (2, 0)
    assert capped.err.count("\n") == 1
    assert "Out of memory. Try --gradient-checkpointing" in capped.err
    assert "--batch-size 2 with --accumulate 2" in capped.err


def test_painting_is_exact_on_the_device() -> None:
    """Every class is painted with its colour, and a single changed channel is detected."""
    ade = Palette.load("ade20k")
    paint = PalettePainter(ade, gpu.DEVICE)
    labels = torch.arange(151, dtype=torch.uint8, device=gpu.DEVICE).clamp(max=150).repeat(1, 2, 1)
    labels[labels == 150] = 255

    painted = paint(labels)

    expected = codec.paint(labels[0].cpu().numpy(), ade).convert("RGB")
    assert np.array_equal((painted[0].cpu() * 255).round().byte().permute(1, 2, 0).numpy(), np.asarray(expected))
    assert int(paint.count_off_palette(painted)) == 0
    painted[0, 1, 0, 7] += 1 / 255
    assert int(paint.count_off_palette(painted)) == 1


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_equal_seeds_draw_equal_pictures(base: Path, tmp_path: Path, segkit: Segkit, precision: str) -> None:
    """Pictures repeat bit for bit on the device; in fp32 they are within a few levels of the CPU's."""
    if precision == "bf16" and gpu.emulates_bf16():
        pytest.skip("this CPU emulates bf16")
    labels = np.repeat(np.repeat(np.arange(16, dtype=np.uint8).reshape(4, 4), 32, 0), 32, 1)
    (tmp_path / "map.png").write_bytes(codec.encode(labels, Palette.load("ade20k")))
    model = load.load_controlnet("fresh", load.load_base(str(base)))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn(weight.shape, generator=generator) * 0.1)
    export.write_folder(tmp_path / "controlnet", model)
    arguments = ["generate", "--map", tmp_path / "map.png", "--prompt", "a room", "--base", base, "--resolution", 128]
    arguments += ["--controlnet", tmp_path / "controlnet", "--steps", 4, "--seed", 5]

    drawn = {}
    devices = {"one": gpu.DEVICE, "two": gpu.DEVICE} | ({"cpu": "cpu"} if precision == "fp32" else {})
    for name, device in devices.items():
        done = segkit(*arguments, "--device", device, "--precision", precision, "-o", tmp_path / name)
        require_done(done)
        drawn[name] = np.asarray(Image.open(tmp_path / name / "map-5.png")).astype(int)

    assert drawn["one"].std() > 1
    assert np.array_equal(drawn["one"], drawn["two"])
    if precision == "fp32":
        assert abs(drawn["one"] - drawn["cpu"]).mean() < 4
