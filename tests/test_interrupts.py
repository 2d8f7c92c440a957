"""Ctrl-C and SIGTERM on the command line."""

import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from segkit import cli, interrupts
from segkit.errors import ModelError, StorageError
from tests.conftest import Segkit

ROOT = Path(__file__).parents[1]
COMMANDS = cli.commands()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_acknowledged(number: signal.Signals, capfd: pytest.CaptureFixture[str]) -> None:
    """A line says so at once, KeyboardInterrupt follows, and the handlers are restored afterwards."""
    before = signal.getsignal(number)

    with pytest.raises(KeyboardInterrupt), interrupts.acknowledged():
        signal.raise_signal(number)

    assert capfd.readouterr().err == f"{interrupts.STOPPING}\n"
    assert signal.getsignal(number) == before


def test_the_acknowledgement_has_the_form_of_the_log(capfd: pytest.CaptureFixture[str]) -> None:
    """A caller whose stderr is read by a machine formats the line."""
    with pytest.raises(KeyboardInterrupt), interrupts.acknowledged(str.upper):
        signal.raise_signal(signal.SIGTERM)

    assert capfd.readouterr().err == f"{interrupts.STOPPING.upper()}\n"


def test_a_second_sigterm_is_ignored(capfd: pytest.CaptureFixture[str]) -> None:
    """Launchers send one to processes that have received Ctrl-C."""
    with interrupts.acknowledged():
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)

    assert capfd.readouterr().err == f"{interrupts.STOPPING}\n"


def test_a_second_ctrl_c_ends_the_process() -> None:
    """It ends at once, although the work swallows the first one."""
    program = (
        "import signal\nfrom segkit import interrupts\n"
        "with interrupts.acknowledged():\n"
        "    try:\n        signal.raise_signal(signal.SIGINT)\n    except KeyboardInterrupt:\n"
        "        signal.raise_signal(signal.SIGINT)\n        print('went on')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=False)

    assert (done.returncode, done.stdout) == (interrupts.EXIT_CODE, "")
    assert done.stderr == f"{interrupts.STOPPING}\nEnded.\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    "arguments",
    [
        ["build-dataset", "photos"],
        ["caption", "rooms"],
        ["snap", "maps"],
        ["train", "rooms"],
        ["generate", "--map", "rooms"],
        ["demo"],
    ],
    ids=" ".join,
)
def test_an_interrupted_command_says_what_to_do(
    segkit: Segkit, monkeypatch: pytest.MonkeyPatch, arguments: list[str], number: signal.Signals
) -> None:
    """Exit code 130, no traceback, and how to continue; nothing is claimed to be saved that may not be."""
    monkeypatch.setattr(COMMANDS[arguments[0]], "callback", lambda **options: signal.raise_signal(number))

    result = segkit(*arguments)

    assert result.code == interrupts.EXIT_CODE
    assert "Traceback" not in result.err
    assert result.err.rpartition("Interrupted. ")[2].startswith(("Run the ", "Drafts ", "No map "))


def test_an_error_in_place_of_the_interrupt_is_an_interrupt(segkit: Segkit, monkeypatch: pytest.MonkeyPatch) -> None:
    """A library that replaces KeyboardInterrupt by an error of its own does not make a file look damaged."""

    def read(**options: object) -> None:
        with suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        raise ModelError("model.safetensors cannot be read")

    monkeypatch.setattr(COMMANDS["snap"], "callback", read)

    result = segkit("snap", "maps")

    assert (result.code, "Interrupted. " in result.err, "cannot be read" in result.err) == (130, True, False)


def test_what_fails_after_an_interrupt_is_reported(segkit: Segkit, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk while an interrupted command stores its state is not hidden by the interrupt."""

    def store(**options: object) -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise StorageError("the disk is full") from None

    monkeypatch.setattr(COMMANDS["snap"], "callback", store)

    result = segkit("snap", "maps")

    assert (result.code, "the disk is full" in result.err) == (2, True)
