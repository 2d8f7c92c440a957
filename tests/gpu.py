"""Where tests marked `cuda` run: on a GPU, or at reduced size on the CPU if requested, so that they keep working."""

import os

import pytest

ON_CPU = os.environ.get("SEGKIT_CUDA_TESTS") == "cpu"
"""Whether to run them on the CPU, where tests of GPU-only behaviour are skipped."""

DEVICE = "cpu" if ON_CPU else "cuda"


def emulates_bf16() -> bool:
    """Return whether bf16 runs on a CPU that must emulate it, which takes a hundred times as long as fp32."""
    import torch

    return ON_CPU and not (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def missing() -> str:
    """Return why these tests cannot run, or ""."""
    import torch

    return "" if ON_CPU or torch.cuda.is_available() else "no CUDA GPU"


def only() -> str:
    """Return why a test of GPU-only behaviour cannot run, or ""."""
    return "GPU-only behaviour" if ON_CPU else missing()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """With `-p tests.gpu`, report every test immediately and failures in full: a time limit may cut off the end."""
    if os.environ.get("PYTEST_XDIST_WORKER") or (report.when != "call" and report.passed):
        return
    name, details = report.nodeid.split("::")[-1], report.capstdout.strip()
    if report.skipped and isinstance(report.longrepr, tuple):
        details = report.longrepr[2]
    print(f"\nVERDICT {name} {report.outcome} {report.duration:.1f} s {details}", flush=True)  # noqa: T201
    if report.failed:
        print(report.longreprtext, flush=True)  # noqa: T201
