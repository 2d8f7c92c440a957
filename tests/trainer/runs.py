"""Train small networks in tests, through the command line or the function, and read the results of a run."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from trainer.data.members import Source
from trainer.settings import TrainSettings

OPTIONS: dict[str, Any] = {
    "controlnet": "fresh", "resolution": 64, "steps": 6, "batch_size": 2, "checkpoint_every": 3, "learning_rate": 1e-3,
    "evaluate_every": 0, "preview_every": 0,
}  # fmt: skip
"""Options of every run unless a test changes them; no evaluation or previews, which take longer than the steps."""


def path_of(source: Source) -> Path:
    """Return the file of a picture that is not in a shard."""
    assert isinstance(source, Path)
    return source


def words(rooms: Path | str, base: Path, run: Path, **changed: Any) -> list[str]:
    """Return the command line of a training."""
    options = {f"--{name.replace('_', '-')}": value for name, value in (OPTIONS | changed).items()}
    flags = [name for name, value in options.items() if value is True]
    pairs = [str(word) for name, value in options.items() if value is not True for word in (name, value)]
    return ["train", str(rooms), "-o", str(run), "--base", str(base), *flags, *pairs]


def train(rooms: Path | str, base: Path, run: Path, **changed: Any) -> Path:
    """Train in this process, without the command line, and return the run's folder."""
    from trainer import loop

    options = OPTIONS | {"base": str(base)} | changed
    for name in [name for name in options if name.startswith("no_")]:  # the flag's name; the setting is its opposite
        options[name.removeprefix("no_")] = not options.pop(name)
    loop.train(rooms, run, TrainSettings(**options))
    return run


def toml(rooms: Path, base: Path, run: Path, **changed: Any) -> dict[str, Any]:
    """Return the content of a run.toml."""
    # AdamW's first steps have the size of the learning rate even for tiny gradients; comparisons need a low rate
    return OPTIONS | {"dataset": str(rooms), "output": str(run), "base": str(base), "learning_rate": 1e-6, **changed}


def log(run: Path) -> list[dict[str, float]]:
    """Return the metrics of a run's steps from its log, without times."""
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    ignored = ("time", "photos_per_second", "says")
    return [{key: value for key, value in line.items() if key not in ignored} for line in lines if line["step"]]


def weights_of(run: Path) -> dict[str, torch.Tensor]:
    """Return the trained weights of a run."""
    return load_file(run / "controlnet" / "diffusion_pytorch_model.safetensors")


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    """Return whether weights are equal, bit for bit."""
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def require_near(run: Path, other: Path, rate: float, steps: int) -> None:
    """Assert that two runs are the same computation, except for the order in which sums were rounded.

    Losses agree up to fp32 rounding. AdamW moves a weight by about its learning rate at each step, in the direction of
    the gradient's sign, which rounding may flip where the gradient is almost zero. Therefore 99 % of the weights must
    agree to a twentieth of the distance that training can move them, and all to twice that distance.
    """
    losses = [[line["loss"] for line in log(folder)] for folder in (run, other)]
    torch.testing.assert_close(torch.tensor(losses[0]), torch.tensor(losses[1]), rtol=1e-5, atol=0)
    first, second = weights_of(run), weights_of(other)
    assert first.keys() == second.keys()
    distance = rate * steps
    difference = torch.cat([(first[name] - second[name]).abs().flatten() for name in first])
    assert float((difference > distance / 20).float().mean()) < 0.01
    assert float(difference.max()) <= 2 * distance


def log_lines(run: Path) -> list[str]:
    """Return the complete lines of a log that is being written, without the validation before the first step."""
    lines = (run / "log.jsonl").read_text().split("\n")[:-1]
    return [line for line in lines if not line.startswith('{"step": 0,')]
