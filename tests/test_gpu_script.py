"""benchmarks/gpu.sh at reduced size on a CPU without network access, so that it works when a GPU is available."""

import json
import os
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def run(output: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the script with this Python and without network access."""
    offline = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), "http://127.0.0.1:9")
    return subprocess.run(
        [str(ROOT / "benchmarks" / "gpu.sh"), "--output", str(output), *options],
        env=os.environ | offline | {"PYTHON": sys.executable} | environment,
        capture_output=True, text=True, check=False, cwd=output.parent,
    )  # fmt: skip


def write_wheel(folder: Path, name: str, requires: str = "") -> None:
    """Write a wheel that contains one module."""
    folder.mkdir(exist_ok=True)
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{name}.py", "")
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{requires}\n")
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")


@pytest.mark.slow  # two minutes, for a script that is rarely changed; CI runs it
def test_the_whole_script_runs_on_a_cpu(tmp_path: Path) -> None:
    """Missing packages are installed from the wheels, all parts run, and JSON lines and table contain all results."""
    write_wheel(tmp_path / "wheels", "segkit_absent", "Requires-Dist: segkit_deeper")
    write_wheel(tmp_path / "wheels", "segkit_deeper")

    done = run(tmp_path / "out", "--cpu", "--quick", "--wheels", str(tmp_path / "wheels"))

    assert done.returncode == 0, done.stdout + done.stderr
    assert "installed segkit_deeper, segkit_absent from" in done.stdout
    records = [json.loads(line) for line in (tmp_path / "out" / "gpu.jsonl").read_text().splitlines()]
    tests = {record["test"]: record["outcome"] for record in records if "test" in record}
    assert tests["test_training_follows_the_cpu"] == "passed"
    assert set(tests.values()) == {"passed", "skipped"}
    assert {record["way"] for record in records if "way" in record} == {"theirs", "ours"}
    assert [record["outcome"] for record in records if "part" in record] == ["done"] * 4
    table = (tmp_path / "out" / "gpu.md").read_text()
    assert all(
        f"### {title}" in table
        for title in ("Tests", "Training steps", "Speedup over train_controlnet.py", "build-dataset")
    )
    assert table in done.stdout


def test_missing_wheels_are_named(tmp_path: Path) -> None:
    """An unsatisfied dependency of a wheel is reported with the command that downloads it."""
    write_wheel(tmp_path / "wheels", "segkit_absent", "Requires-Dist: segkit_deeper")

    done = run(tmp_path / "out", "--cpu", "--wheels", str(tmp_path / "wheels"))

    assert done.returncode == 1
    assert "segkit-deeper: not installed. On a machine with network: benchmarks/gpu_wheels.sh" in done.stderr


@pytest.mark.parametrize(("stop_signal", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_leaves_nothing_running(tmp_path: Path, stop_signal: signal.Signals, code: int) -> None:
    """Ctrl-C or SIGTERM ends the running part with all its processes, and the results record it."""
    command = [str(ROOT / "benchmarks" / "gpu.sh"), "--output", str(tmp_path / "out"), "--cpu", "--only", "tests"]
    environment = os.environ | {"PYTHON": sys.executable}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a background job inherits that it is ignored
    ) as process:  # fmt: skip
        assert process.stdout
        while "== tests" not in process.stdout.readline():
            pass
        process.send_signal(stop_signal)
        remaining = process.stdout.read()  # returns when the last process has closed the pipe

    assert process.returncode == code
    assert "passed" not in remaining
    (record,) = [json.loads(line) for line in (tmp_path / "out" / "gpu.jsonl").read_text().splitlines()]
    assert record["outcome"] == "interrupted"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--only", "nonsense"], "--only nonsense: unknown part. Expected one of: 'card', 'tests'"),
        (["--minutes", "-1"], "--minutes -1.0: expected a number above 0"),
        ([], "already contains results. Choose another --output, or pass --add"),
    ],
    ids=["part", "minutes", "taken"],
)
def test_a_mistake_is_reported_and_changes_nothing(tmp_path: Path, options: list[str], message: str) -> None:
    """Usage errors are reported before anything runs, and earlier results are kept."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "gpu.jsonl").write_text("{}\n")

    done = run(tmp_path / "out", "--cpu", *options)

    assert done.returncode == 2
    assert message in done.stderr
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["gpu.jsonl"]
    assert (tmp_path / "out" / "gpu.jsonl").read_text() == "{}\n"


@pytest.mark.parametrize(("minutes", "outcome"), [("0.13", "stopped after its limit of "), ("0.01", "no time left")])
def test_a_part_that_takes_too_long_is_stopped(tmp_path: Path, minutes: str, outcome: str) -> None:
    """A part is stopped at its time limit, earlier results are kept, and the exit code is 1."""
    done = run(tmp_path / "out", "--cpu", "--only", "tests", "--minutes", minutes)

    assert done.returncode == 1
    (record,) = [json.loads(line) for line in (tmp_path / "out" / "gpu.jsonl").read_text().splitlines()]
    assert record["outcome"].startswith(outcome)
    assert record["outcome"] in (tmp_path / "out" / "gpu.md").read_text()
