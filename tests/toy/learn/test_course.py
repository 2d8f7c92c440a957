"""Optimisation of the toy networks."""

from contextlib import nullcontext
from itertools import pairwise

import pytest
import torch

from segkit.toy.learn import course
from segkit.toy.learn.course import Course


def test_parameters_approach_the_minimum() -> None:
    """Every step is reported with its loss, which falls."""
    weight = torch.nn.Parameter(torch.tensor([3.0, -2.0]))
    losses: list[float] = []

    course.optimize(Course(60, 1, 0.3, 0), [weight], lambda: (weight - 1).square().sum(), losses.append)

    assert len(losses) == 60
    assert losses[0] == 13
    assert losses[-1] < 0.05


def test_the_learning_rate_rises_and_falls() -> None:
    """The largest steps come after a tenth of the course, and the last ones are tiny."""
    weight = torch.nn.Parameter(torch.tensor([1000.0]))
    places: list[float] = []

    def loss() -> torch.Tensor:
        places.append(float(weight.detach()))
        return weight.sum()

    course.optimize(Course(100, 1, 0.1, 0), [weight], loss, lambda value: None)

    steps = [before - after for before, after in pairwise(places)]
    assert 5 <= steps.index(max(steps)) <= 15
    assert steps[-1] < 0.01 * max(steps)


def test_large_gradients_are_clipped() -> None:
    """The norm over all parameters is limited before the optimizer sees the gradients."""
    weights = [torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(3))]

    course.optimize(Course(1, 1, 1e-3, 0), weights, lambda: 1e6 * sum(w.sum() for w in weights), lambda value: None)  # type: ignore[arg-type, return-value]

    norm = torch.cat([weight.grad for weight in weights if weight.grad is not None]).norm()
    assert float(norm) == pytest.approx(course.MAX_GRAD_NORM)


def test_bf16_is_avoided_where_it_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without AMX, or where it is barred, fp32 is used; with it, autocast."""
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True, raising=False)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    assert isinstance(course.autocast("cpu"), nullcontext)

    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "default")
    assert isinstance(course.autocast("cpu"), torch.autocast)

    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False, raising=False)
    assert isinstance(course.autocast("cpu"), nullcontext)
