"""What docs/train-many.md proposes for SLURM and Kubernetes tells every process where the others are."""

import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]

from trainer.step.rendezvous import Rendezvous

GUIDE = (Path(__file__).parents[2] / "docs" / "train-many.md").read_text("utf-8")

SLURM = {
    "scontrol": 'echo "$3" | tr , "\\n"',
    "srun": 'shift; for SLURM_PROCID in 0 1; do SLURM_LOCALID=0; export SLURM_PROCID SLURM_LOCALID; "$@"; done',
    "python": 'echo "$RANK $WORLD_SIZE $LOCAL_RANK $MASTER_ADDR $MASTER_PORT $*"',
}
"""Stand-ins for the commands of the batch script; srun starts one task after another."""


def fence(language: str) -> str:
    """Return the only example in a language."""
    (text,) = re.findall(rf"^```{language}\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
    return str(text)


def test_the_batch_script_starts_every_task(tmp_path: Path) -> None:
    """Each task learns its numbers, and the address of the first machine of the job."""
    for name, script in SLURM.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{script}\n")
        (tmp_path / name).chmod(0o755)
    job = {"SLURM_JOB_NODELIST": "node-a,node-b", "SLURM_JOB_ID": "41234", "SLURM_NTASKS": "2"}
    path = f"{tmp_path}:{os.environ['PATH']}"

    done = subprocess.run(
        ["bash", "-eu", "-c", fence("bash")], env=job | {"PATH": path}, capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [f"{rank} 2 0 node-a 21234 -m trainer run.toml" for rank in (0, 1)]


def test_the_pods_know_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """All variables are set, for as many pods as there are, and the first pod's name is one that the service gives."""
    service, job = yaml.safe_load_all(fence("yaml"))
    pod = job["spec"]["template"]["spec"]
    variables = {entry["name"]: entry.get("value", "1") for entry in pod["containers"][0]["env"]}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    place = Rendezvous.from_environment()

    assert place == Rendezvous(1, job["spec"]["completions"], "rooms-0.rooms", 29500)
    assert job["spec"]["parallelism"] == job["spec"]["completions"]
    assert service["metadata"]["name"] == pod["subdomain"]
    assert service["spec"]["selector"] == {"job-name": job["metadata"]["name"]}
