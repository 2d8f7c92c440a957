"""python -m trainer: it helps, and a wrong argument ends in one line that says where the help is."""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from trainer import __main__ as command
from trainer import settings


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_is_printed(flag: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Usage and an example, and exit code 0, without looking for a file."""
    monkeypatch.setattr(sys, "argv", ["trainer", flag])

    command.main()

    assert capsys.readouterr().out == command.HELP


def test_the_example_of_the_help_is_a_run_toml(tmp_path: Path) -> None:
    """The indented lines are settings that a training accepts."""
    example = "".join(line for line in command.HELP.splitlines(True) if line.startswith("    ") and " = " in line)
    path = tmp_path / "run.toml"
    path.write_text(example)

    values = settings.read(path)

    assert {"dataset", "output", "base"} <= set(values) == set(tomllib.loads(example))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Expected the path of one run.toml, found nothing."),
        (["run.toml", "--steps", "3"], "found run.toml --steps 3."),
        (["--steps"], "found --steps."),
        (["folder"], "folder is a folder. Pass a file, such as folder/run.toml."),
        (["nowhere.toml"], "nowhere.toml: cannot be read (No such file or directory)."),
        (["photo.png"], "photo.png: not valid TOML: line 1 is not UTF-8"),
        (["table.csv"], "table.csv: not valid TOML: line 1 (index,name): expected '='"),
        (["empty.toml"], 'empty.toml: dataset and output missing. Add: dataset = "PATH"'),
        (["other.toml"], "other.toml, line 2: unknown setting 'format'."),
    ],
)
def test_a_wrong_argument_is_refused(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """One line, exit code 2."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "photo.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (tmp_path / "table.csv").write_text("index,name\n0,wall\n")
    (tmp_path / "empty.toml").touch()
    (tmp_path / "other.toml").write_text("# a dataset's\nformat = 1\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["trainer", *arguments])

    with pytest.raises(SystemExit) as ended:
        command.main()

    err = capfd.readouterr().err
    assert (ended.value.code, err.count("\n")) == (2, 1)
    assert message in err
    assert err.endswith(" Help: python -m trainer --help\n")


@pytest.mark.parametrize("arguments", [["--log", "json", "no.toml"], ["no.toml", "--log=json"], ["--log", "json"]])
def test_a_log_for_machines(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """With --log json, which may come first or last, stderr has the error and the end as events."""
    monkeypatch.setattr(sys, "argv", ["trainer", *arguments])

    with pytest.raises(SystemExit) as ended:
        command.main()

    error, end = map(json.loads, capfd.readouterr().err.splitlines())
    expected = "no.toml: cannot be read" if "no.toml" in arguments else "Expected the path of one run.toml"
    assert (ended.value.code, error["kind"], end["code"]) == (2, "UsageError", 2)
    assert error["message"].startswith(expected)


def test_the_module_runs_as_a_command() -> None:
    """In a process of its own, the help needs no PyTorch, so it appears at once."""
    code = "import runpy, sys; sys.argv = ['trainer', '-h']; runpy.run_module('trainer', run_name='__main__')"
    code += "; assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ.copy())

    assert (done.returncode, done.stderr, done.stdout) == (0, "", command.HELP)
