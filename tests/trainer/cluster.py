"""Run several trainings, one after another, in two processes that torchrun starts once."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import tomli_w

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
FSDP, STOP = "--fsdp", "--stop"
"""Let accelerate shard on CPUs; let the first process send SIGTERM to its launcher once the log has three steps."""


def launch(
    folder: Path, jobs: list[dict[str, Any]], *options: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run the trainings; the first failure ends the rest.

    Args:
        folder: created for the run.toml files.
        jobs: content of one run.toml each.
        options: FSDP, STOP.
        environment: additional variables of the processes.
    """
    folder.mkdir()
    paths = [folder / f"{number:02}.toml" for number in range(len(jobs))]
    for path, job in zip(paths, jobs, strict=True):
        path.write_text(tomli_w.dumps(job))
    command = [*TORCHRUN, str(Path(__file__)), *options, *map(str, paths)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | environment)


def _main() -> None:
    import torch
    from accelerate.state import PartialState

    from tests.trainer import fsdp_on_cpu, stopping
    from trainer import __main__ as command
    from trainer.run.log import RunLog

    torch.distributed.init_process_group("gloo")  # once for all jobs: a second store would read stale addresses
    PartialState.destroy_process_group = lambda self, group=None: None
    if FSDP in sys.argv:
        fsdp_on_cpu.install()
    if STOP in sys.argv:
        RunLog.write = stopping.at(3, lambda: os.kill(os.getppid(), signal.SIGTERM))  # type: ignore[method-assign]
    for path in [argument for argument in sys.argv[1:] if argument.endswith(".toml")]:
        sys.argv = ["trainer", path]
        try:
            command.main()
        except SystemExit as exit_:
            if exit_.code:
                raise


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))
    _main()
