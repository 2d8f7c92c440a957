"""Run several trainings, one after another, in two processes that torchrun's agent starts once.

torchrun would start two interpreters, which import PyTorch and diffusers for longer than these trainings take; here the
launcher imports them and its agent forks.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import tomli_w

STOP = "--stop"
"""Lets the first process send SIGTERM to its launcher once the log has three steps."""

SAMPLING_STEPS = 4
"""Of pictures that are drawn during the trainings, instead of 20."""

SHARDED = {
    "ACCELERATE_USE_FSDP": "true",
    "FSDP_VERSION": "2",
    "FSDP_AUTO_WRAP_POLICY": "NO_WRAP",
    "FSDP_STATE_DICT_TYPE": "SHARDED_STATE_DICT",
}
"""Environment variables with which `accelerate launch` shards a training."""


Job = dict[str, Any]


def launch(folder: Path, jobs: list[tuple[Job, dict[str, str]]], *options: str) -> subprocess.CompletedProcess[str]:
    """Run the trainings; the first failure ends the rest.

    Args:
        folder: created for the jobs' files.
        jobs: content of one run.toml each, and environment variables from then on; with those of SHARDED, accelerate
            shards on CPUs.
        options: STOP.
    """
    folder.mkdir()
    (folder / "environments.json").write_text(json.dumps([environment for _, environment in jobs]))
    for number, (job, _) in enumerate(jobs):
        (folder / f"{number:02}.toml").write_text(tomli_w.dumps(job))
    command = [sys.executable, str(Path(__file__)), *options, str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def _main() -> None:
    from diffusers import AutoencoderKL, ControlNetModel, UNet2DConditionModel  # noqa: F401 - for both processes
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch
    from transformers import CLIPTextModel  # noqa: F401

    from trainer import loop  # noqa: F401

    config = LaunchConfig(
        min_nodes=1, max_nodes=1, nproc_per_node=2, run_id="tests", rdzv_backend="c10d", rdzv_endpoint="localhost:0",
        max_restarts=0, start_method="fork",
    )  # fmt: skip
    elastic_launch(config, _train_all)()


def _train_all() -> None:
    import torch
    from accelerate.state import PartialState

    from tests.trainer import fsdp_on_cpu, stopping
    from trainer import __main__ as command
    from trainer.run.log import RunLog
    from trainer.sample import sampler

    torch.distributed.init_process_group("gloo")  # once for all jobs: a second store would read stale addresses
    PartialState.destroy_process_group = lambda self, group=None: None
    sampler.STEPS = SAMPLING_STEPS
    folder = Path(sys.argv[-1])
    if STOP in sys.argv:
        RunLog.write = stopping.at(3, lambda: os.kill(os.getppid(), signal.SIGTERM))  # type: ignore[method-assign]
    for number, environment in enumerate(json.loads((folder / "environments.json").read_text())):
        os.environ.update(environment)
        if environment:
            fsdp_on_cpu.install()
        sys.argv = ["trainer", str(folder / f"{number:02}.toml")]
        try:
            command.main()
        except SystemExit as exit_:
            if exit_.code:
                raise


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))
    _main()
