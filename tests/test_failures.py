"""Failures of commands: what a person, a script and a log read."""

import json
import signal
from pathlib import Path
from typing import Any

import click
import pytest

from segkit import cli, console, failures
from segkit.errors import DatasetError, PhotoError, SegkitError, SettingError
from segkit.failures import Channels
from segkit.problem import Problem
from tests.conftest import Segkit

COMMANDS = cli.commands()


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        (["check", "none", "--json"], "DatasetError", "none"),
        (["build-dataset", "--json"], "UsageError", "No photos given. Run segkit build-dataset PHOTOS"),
        (["build-dataset", ".", "--protocol", "pascal", "--json"], "UsageError", "'pascal' is not one of"),
        (["check-palette", "--json", "--no-such-option"], "UsageError", "--no-such-option"),
        (["nonsense", "--json"], "UsageError", "No such command 'nonsense'"),
        (["inspect", "none.pth", "--json"], "ModelError", "none.pth"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_json_has_errors_too(
    segkit: Segkit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], kind: str, message: str
) -> None:
    """Stdout has one object with the kind and the message, stderr the usual line; the exit code stays."""
    monkeypatch.chdir(tmp_path)

    done = segkit(*arguments)

    assert done.code == 2
    assert (reported := json.loads(done.out))["schema"] == console.SCHEMA
    assert reported["error"]["kind"] == kind
    assert message in reported["error"]["message"]
    assert reported["error"]["message"].splitlines()[0] in done.err


def test_a_setting_out_of_range_is_named(segkit: Segkit, tmp_path: Path) -> None:
    """A script reads the setting as in Python, a person as an option; NaN, which JSON lacks, is text."""
    size = json.loads(segkit("build-dataset", tmp_path, "--size", "500", "--json").out)["error"]
    nan = json.loads(segkit("build-dataset", tmp_path, "--max-megapixels", "nan", "--json").out)["error"]

    expected = "a multiple of 8, at least 64"
    assert size == {
        "kind": "SettingError", "message": f"--size 500: expected {expected}.",
        "setting": "size", "value": 500, "expected": expected,
    }  # fmt: skip
    assert nan["value"] == "nan"


@pytest.mark.parametrize(
    ("error", "kind", "details"),
    [
        (PhotoError("damaged", "It is."), "PhotoError", {"reason": "damaged"}),
        (DatasetError("It is."), "DatasetError", {}),
        (
            DatasetError("It is.", [Problem("prompt", "error", "a.jpg", "No prompt.", "Write one.")]),
            "DatasetError",
            {
                "problems": [
                    {"rule": "prompt", "severity": "error", "place": "a.jpg", "message": "No prompt.",
                     "cure": "Write one."}
                ]
            },
        ),
        (SettingError("size", print, "a number"), "SettingError",
         {"setting": "size", "value": str(print), "expected": "a number"}),
        (SegkitError("It is."), "SegkitError", {}),
    ],
)  # fmt: skip
def test_errors_carry_what_they_know(error: SegkitError, kind: str, details: dict[str, Any]) -> None:
    """Reason, problems and setting are values that JSON can hold."""
    explained = failures.explain(error).to_json()

    assert explained == {"kind": kind, "message": str(error), **details}
    assert json.loads(json.dumps(explained)) == explained


@pytest.mark.parametrize(
    ("error", "kind", "message", "code"),
    [
        (FileNotFoundError(2, "No such file", "a"), "FileNotFoundError", "Cannot continue: [Errno 2] No such file", 2),
        (ModuleNotFoundError("No module x", name="trainer.loop"), "ModuleNotFoundError", "Another installed", 2),
        (ModuleNotFoundError("No module named 'x'", name="x"), "ModuleNotFoundError", "No module named 'x'. Inst", 2),
        (ValueError("one\ntwo"), "ValueError", "segkit failed: ValueError: one. Add -v", 2),
        (KeyboardInterrupt(), "Interrupted", "Interrupted.", 130),
        (click.exceptions.Abort("Interrupted. Again."), "Interrupted", "Interrupted. Again.", 130),
    ],
)
def test_every_exception_is_explained(error: BaseException, kind: str, message: str, code: int) -> None:
    """Errors of other libraries and stops have a kind, one line and an exit code."""
    failure = failures.explain(error)

    assert (failure.kind, failure.code) == (kind, code)
    assert failure.message.startswith(message)
    assert "\n" not in failure.message


def events(err: str) -> list[dict[str, Any]]:
    """Return the lines of stderr, each of which must be an object."""
    return [json.loads(line) for line in err.splitlines()]


def test_a_log_for_machines_has_the_error_and_the_end(segkit: Segkit, tmp_path: Path) -> None:
    """With --log json every line on stderr is an event, also after a usage error and with a traceback."""
    unknown = events(segkit("check", "--nonsense", "--log=json").err)
    missing = events(segkit("check", tmp_path / "none", "--log", "json", "-v").err)

    assert [(event["event"], event.get("kind")) for event in unknown] == [("error", "UsageError"), ("end", None)]
    assert [event["event"] for event in missing] == ["error", "end"]
    assert "Traceback" in missing[0]["traceback"][0]
    assert missing[1]["code"] == 2


def test_a_log_for_machines_has_the_stop(segkit: Segkit, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """SIGTERM is acknowledged, the last progress follows, then the error and the end; stdout has the error too."""

    def work(**options: Any) -> None:
        with console.progress() as report:
            report("maps", 1, 9)
            report("maps", 4, 9)
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(COMMANDS["snap"], "callback", work)
    done = segkit("snap", tmp_path, "--log", "json", "--json")

    names = [(event["event"], event.get("done"), event.get("code")) for event in events(done.err)]
    assert names == [
        ("progress", 1, None), ("stopping", None, None), ("progress", 4, None), ("error", None, None),
        ("end", None, 130),
    ]  # fmt: skip
    assert done.code == 130
    assert json.loads(done.out)["error"]["kind"] == "Interrupted"


def test_success_has_an_end_too(segkit: Segkit) -> None:
    """The exit code and the duration, after the result on stdout."""
    done = segkit("check-palette", "--json", "--log", "json")

    (end,) = events(done.err)
    assert (end["event"], end["code"]) == ("end", done.code)
    assert end["seconds"] >= 0
    assert json.loads(done.out)["schema"] == console.SCHEMA


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], Channels(False, False, False)),
        (["check", "rooms", "--json", "-v"], Channels(True, False, True)),
        (["check", "--log", "json"], Channels(False, True, False)),
        (["check", "--log", "text", "json"], Channels(False, False, False)),
        (["check", "--log=json", "--", "--json", "-v"], Channels(False, True, False)),
    ],
)
def test_channels_are_read_from_the_arguments(arguments: list[str], expected: Channels) -> None:
    """Even if the arguments are wrong; what follows -- are names of files."""
    assert Channels.of(arguments) == expected
