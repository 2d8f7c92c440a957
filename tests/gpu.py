"""Where the tests marked `cuda` run: on a GPU; on the CPU, smaller, where that is asked for so that they cannot rot."""

import os

import pytest

ON_CPU = os.environ.get("SEGKIT_CUDA_TESTS") == "cpu"
"""Whether to run them on the CPU; what only a GPU can show is skipped there."""

DEVICE = "cpu" if ON_CPU else "cuda"


def missing() -> str:
    """Return why these tests cannot run here; "" where they can."""
    import torch

    return "" if ON_CPU or torch.cuda.is_available() else "no CUDA GPU"


def only() -> str:
    """Return why a test of what only a GPU has cannot run here; "" where it can."""
    return "only a GPU can show this" if ON_CPU else missing()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """With `-p tests.gpu`: tell of every test at once, and of a failure all, for a time limit may cut off the end."""
    if os.environ.get("PYTEST_XDIST_WORKER") or (report.when != "call" and report.passed):
        return
    name, said = report.nodeid.split("::")[-1], report.capstdout.strip()
    if report.skipped and isinstance(report.longrepr, tuple):
        said = report.longrepr[2]
    print(f"\nVERDICT {name} {report.outcome} {report.duration:.1f} s {said}", flush=True)  # noqa: T201
    if report.failed:
        print(report.longreprtext, flush=True)  # noqa: T201
