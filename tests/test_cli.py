"""The command line as a whole: help, examples, errors, exit codes."""

import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from segkit import cli
from tests.conftest import Segkit

COMMANDS = cli.commands()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_shows_an_example_in_its_help(segkit: Segkit, name: str) -> None:
    """--help ends with an example command."""
    result = segkit(name, "--help")

    assert result.code == 0
    assert f"Example: segkit {name}" in result.out


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_has_a_help_text(name: str) -> None:
    """No option of any command lacks a help text."""
    options = [param for param in COMMANDS[name].params if isinstance(param, click.Option)]

    assert [option.name for option in options if not option.help] == []


def test_commands_are_listed_in_workflow_order(segkit: Segkit) -> None:
    """The help lists build-dataset first and demo last."""
    lines = [line.split()[0] for line in segkit("--help").out.splitlines() if line.startswith("  ") and line.strip()]

    order = [word for word in lines if word in COMMANDS]
    assert order == [
        "build-dataset",
        "import",
        "check-palette",
        "snap",
        "caption",
        "check",
        "review",
        "relabel",
        "remove",
        "subset",
        "train",
        "generate",
        "evaluate",
        "export",
        "inspect",
        "demo",
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        ["build-dataset", "no such folder"],
        ["build-dataset", "."],
        ["build-dataset"],
        ["build-dataset", ".", "--size", "500"],
        ["build-dataset", ".", "--protocol", "pascal"],
        ["check", "no such folder"],
        ["caption", "no such folder"],
        ["check-palette", "no such file.csv"],
        ["nonsense"],
    ],
)
def test_usage_errors_are_one_line_and_exit_code_2(
    segkit: Segkit, arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An invalid call gives exit code 2, no output, no traceback, and leaves no files."""
    monkeypatch.chdir(tmp_path)

    result = segkit(*arguments)

    assert result.code == 2
    assert result.out == ""
    assert "Traceback" not in result.err
    assert list(tmp_path.iterdir()) == []


def test_verbose_shows_the_traceback(segkit: Segkit, tmp_path: Path) -> None:
    """-v prints the traceback before the usual error line."""
    result = segkit("check", tmp_path / "none", "-v")

    assert "Traceback" in result.err
    assert result.err.splitlines()[-1].endswith("segkit build-dataset PHOTOS")


def test_a_closed_pipe_is_not_an_error() -> None:
    """`segkit check-palette --json | head -1` prints no error."""
    program = f"{shlex.quote(sys.executable)} -m segkit check-palette coco_panoptic --json | head -1"

    done = subprocess.run(["sh", "-c", program], capture_output=True, text=True, check=True)

    assert done.stderr == ""


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_of_commands_shows_their_short_help(name: str) -> None:
    """Listing imports no command, so the texts are repeated there."""
    assert cli.COMMANDS[name][1] == COMMANDS[name].short_help
