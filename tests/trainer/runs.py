"""How tests train small networks, by the command line or by the function, and what a run leaves."""

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
"""What is the same in every run of a test, if it does not say otherwise: no looks, which take longer than the steps."""


def words(rooms: Path, base: Path, run: Path, **changed: Any) -> list[str]:
    """Return what is typed to train."""
    options = {f"--{name.replace('_', '-')}": value for name, value in (OPTIONS | changed).items()}
    flags = [name for name, value in options.items() if value is True]
    rest = [str(word) for name, value in options.items() if value is not True for word in (name, value)]
    return ["train", str(rooms), "-o", str(run), "--base", str(base), *flags, *rest]


def train(rooms: Path, base: Path, run: Path, **changed: Any) -> Path:
    """Train in this process, without the command line; return the run."""
    from trainer import loop

    options = OPTIONS | {"base": str(base)} | changed
    for name in [name for name in options if name.startswith("no_")]:  # as the flags are called
        options[name.removeprefix("no_")] = not options.pop(name)
    loop.train(rooms, run, TrainSettings(**options))
    return run


def toml(rooms: Path, base: Path, run: Path, **changed: Any) -> dict[str, Any]:
    """Return what a run.toml says."""
    # AdamW's first steps are as large as its rate however small the gradient, so near comparisons ask for a low one
    return OPTIONS | {"dataset": str(rooms), "output": str(run), "base": str(base), "learning_rate": 1e-6, **changed}


def log(run: Path) -> list[dict[str, float]]:
    """Return the numbers of the steps of a run's log, without its timings."""
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    left_out = ("photos_per_second", "says")
    return [{key: value for key, value in line.items() if key not in left_out} for line in lines if line["step"]]


def weights_of(run: Path) -> dict[str, torch.Tensor]:
    """Return the trained weights."""
    return load_file(run / "controlnet" / "diffusion_pytorch_model.safetensors")


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    """Tell whether weights are equal, bit by bit."""
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def require_near(run: Path, other: Path, rate: float, steps: int) -> None:
    """Demand that two runs are the same computation, whose sums were rounded in other orders.

    Losses agree to some roundings of fp32. A weight moves by about AdamW's rate at each step, in the direction of its
    gradient's sign, which rounding may turn where the gradient is next to nothing: so 99 of 100 weights agree to a
    twentieth of the way that training took them, and none is farther than twice the whole way.
    """
    losses = [[line["loss"] for line in log(each)] for each in (run, other)]
    torch.testing.assert_close(torch.tensor(losses[0]), torch.tensor(losses[1]), rtol=1e-5, atol=0)
    one, two = weights_of(run), weights_of(other)
    assert one.keys() == two.keys()
    way = rate * steps
    apart = torch.cat([(one[name] - two[name]).abs().flatten() for name in one])
    assert float((apart > way / 20).float().mean()) < 0.01
    assert float(apart.max()) <= 2 * way


def log_lines(run: Path) -> list[str]:
    """Return the whole lines of a log that is being written, but for the look before the first step."""
    lines = (run / "log.jsonl").read_text().split("\n")[:-1]
    return [line for line in lines if not line.startswith('{"step": 0,')]
