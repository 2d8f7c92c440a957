"""benchmarks/gpu.sh: on a CPU, small, without a network, so that it is ready when a GPU is at hand."""

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
    """Run the script with this Python, cut off from any network."""
    offline = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), "http://127.0.0.1:9")
    return subprocess.run(
        [str(ROOT / "benchmarks" / "gpu.sh"), "--output", str(output), *options],
        env=os.environ | offline | {"PYTHON": sys.executable} | environment,
        capture_output=True, text=True, check=False, cwd=output.parent,
    )  # fmt: skip


def write_wheel(folder: Path, name: str, requires: str = "") -> None:
    """Write a wheel with one module."""
    folder.mkdir(exist_ok=True)
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{name}.py", "")
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{requires}\n")
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")


def test_the_whole_script_runs_on_a_cpu(tmp_path: Path) -> None:
    """What is missing comes from the folder of wheels; each part is done; lines and table hold every result."""
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
    assert all(f"### {title}" in table for title in ("Tests", "Training steps", "Ours to theirs", "build-dataset"))
    assert table in done.stdout


def test_what_is_still_missing_is_named(tmp_path: Path) -> None:
    """A wheel that needs another which nobody brought: its name, and what to run where there is a network."""
    write_wheel(tmp_path / "wheels", "segkit_absent", "Requires-Dist: segkit_deeper")

    done = run(tmp_path / "out", "--cpu", "--wheels", str(tmp_path / "wheels"))

    assert done.returncode == 1
    assert "segkit-deeper: not installed. Where there is a network: benchmarks/gpu_wheels.sh" in done.stderr


@pytest.mark.parametrize(("how", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stop_leaves_nothing_running(tmp_path: Path, how: signal.Signals, code: int) -> None:
    """Ctrl-C, or SIGTERM: the part that runs is ended with all it started, and the results say so."""
    command = [str(ROOT / "benchmarks" / "gpu.sh"), "--output", str(tmp_path / "out"), "--cpu", "--only", "tests"]
    environment = os.environ | {"PYTHON": sys.executable}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        while "== tests" not in process.stdout.readline():
            pass
        process.send_signal(how)
        left = process.stdout.read()  # ends when nobody holds the pipe any more

    assert process.returncode == code
    assert "passed" not in left
    (record,) = [json.loads(line) for line in (tmp_path / "out" / "gpu.jsonl").read_text().splitlines()]
    assert record["outcome"] == "stopped by hand"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--only", "nonsense"], "--only nonsense: no such part; there are 'card', 'tests'"),
        (["--minutes", "-1"], "--minutes -1.0: expected more than 0"),
        ([], "holds results already. Name another --output, or --add to them"),
    ],
    ids=["part", "minutes", "taken"],
)
def test_a_mistake_is_reported_and_changes_nothing(tmp_path: Path, options: list[str], message: str) -> None:
    """In words, before anything runs; earlier results stay."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "gpu.jsonl").write_text("{}\n")

    done = run(tmp_path / "out", "--cpu", *options)

    assert done.returncode == 2
    assert message in done.stderr
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["gpu.jsonl"]
    assert (tmp_path / "out" / "gpu.jsonl").read_text() == "{}\n"


@pytest.mark.parametrize(("minutes", "outcome"), [("0.13", "stopped at its limit of "), ("0.01", "no time left")])
def test_a_part_that_takes_too_long_is_stopped(tmp_path: Path, minutes: str, outcome: str) -> None:
    """At its limit it is stopped, the results before it stay, and the exit code is 1."""
    done = run(tmp_path / "out", "--cpu", "--only", "tests", "--minutes", minutes)

    assert done.returncode == 1
    (record,) = [json.loads(line) for line in (tmp_path / "out" / "gpu.jsonl").read_text().splitlines()]
    assert record["outcome"].startswith(outcome)
    assert record["outcome"] in (tmp_path / "out" / "gpu.md").read_text()
