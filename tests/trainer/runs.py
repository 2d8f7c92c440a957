"""Train small networks in tests, by the command line or the function, and read what a run writes."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from trainer.settings import TrainSettings

OPTIONS: dict[str, Any] = {
    "controlnet": "fresh", "resolution": 64, "steps": 6, "batch_size": 2, "checkpoint_every": 3, "learning_rate": 1e-3,
    "evaluate_every": 0, "preview_every": 0,
}  # fmt: skip
"""Defaults of every run in a test. No validation, which takes longer than the steps."""


def words(rooms: Path, base: Path, run: Path, **changed: Any) -> list[str]:
    """Return the command-line arguments of a training."""
    options = {f"--{name.replace('_', '-')}": value for name, value in (OPTIONS | changed).items()}
    flags = [name for name, value in options.items() if value is True]
    rest = [str(part) for name, value in options.items() if value is not True for part in (name, value)]
    return ["train", str(rooms), "-o", str(run), "--base", str(base), *flags, *rest]


def train(rooms: Path, base: Path, run: Path, **changed: Any) -> Path:
    """Train in this process, without the command line; return the run folder."""
    from trainer import loop

    options = OPTIONS | {"base": str(base)} | changed
    for name in [name for name in options if name.startswith("no_")]:  # named like the flags
        options[name.removeprefix("no_")] = not options.pop(name)
    loop.train(rooms, run, TrainSettings(**options))
    return run


def toml(rooms: Path, base: Path, run: Path, **changed: Any) -> dict[str, Any]:
    """Return the content of a run.toml."""
    # AdamW's first steps are as large as its learning rate, however small the gradient: comparisons need a low rate
    return OPTIONS | {"dataset": str(rooms), "output": str(run), "base": str(base), "learning_rate": 1e-6, **changed}


def log(run: Path) -> list[dict[str, float]]:
    """Return the lines of a run's log after step 0, without timings and remarks."""
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    ignored = ("photos_per_second", "says")
    return [{key: value for key, value in line.items() if key not in ignored} for line in lines if line["step"]]


def weights_of(run: Path) -> dict[str, torch.Tensor]:
    """Return the trained weights."""
    return load_file(run / "controlnet" / "diffusion_pytorch_model.safetensors")


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    """Return whether weights are equal bit for bit."""
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def require_near(run: Path, other: Path, rate: float, steps: int) -> None:
    """Assert that two runs are the same computation up to rounding.

    Losses agree to a few roundings of fp32. AdamW moves a weight by about its learning rate per step, in the direction
    of the gradient's sign, which rounding may flip where the gradient is close to zero. So 99 % of the weights agree to
    a twentieth of the distance that training can move them, and none differs by more than twice that distance.
    """
    losses = [[line["loss"] for line in log(folder)] for folder in (run, other)]
    torch.testing.assert_close(torch.tensor(losses[0]), torch.tensor(losses[1]), rtol=1e-5, atol=0)
    one, two = weights_of(run), weights_of(other)
    assert one.keys() == two.keys()
    distance = rate * steps
    differences = torch.cat([(one[name] - two[name]).abs().flatten() for name in one])
    assert float((differences > distance / 20).float().mean()) < 0.01
    assert float(differences.max()) <= 2 * distance


def log_lines(run: Path) -> list[str]:
    """Return the complete lines of a log that may be incomplete, without step 0."""
    lines = (run / "log.jsonl").read_text().split("\n")[:-1]
    return [line for line in lines if not line.startswith('{"step": 0,')]
