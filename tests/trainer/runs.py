"""What is typed to train small networks, and what a run leaves."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

OPTIONS: dict[str, Any] = {
    "--controlnet": "fresh", "--resolution": 64, "--steps": 6, "--batch-size": 2, "--checkpoint-every": 3,
    "--learning-rate": 1e-3, "--evaluate-every": 1000, "--preview-every": 0,
}  # fmt: skip
"""What is the same in every run of a test, if it does not say otherwise."""


def words(rooms: Path, base: Path, run: Path, **changed: Any) -> list[str]:
    """Return what is typed to train."""
    options = OPTIONS | {f"--{name.replace('_', '-')}": value for name, value in changed.items()}
    flags = [name for name, value in options.items() if value is True]
    rest = [str(word) for name, value in options.items() if value is not True for word in (name, value)]
    return ["train", str(rooms), "-o", str(run), "--base", str(base), *flags, *rest]


def toml(rooms: Path, base: Path, run: Path, **changed: Any) -> str:
    """Return a run.toml."""
    import tomli_w

    options = {name[2:].replace("-", "_"): value for name, value in OPTIONS.items()}
    # AdamW's first steps are as large as its rate however small the gradient, so 1e-5 asks for a low one
    options |= {"dataset": str(rooms), "output": str(run), "base": str(base), "learning_rate": 1e-6, **changed}
    return tomli_w.dumps(options)


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


def log_lines(run: Path) -> list[str]:
    """Return the whole lines of a log that is being written, but for the look before the first step."""
    lines = (run / "log.jsonl").read_text().split("\n")[:-1]
    return [line for line in lines if not line.startswith('{"step": 0,')]
