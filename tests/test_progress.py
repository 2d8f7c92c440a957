"""The one signature of progress."""

import inspect

import pytest

from segkit import progress


def test_silence_has_the_signature_of_progress(capfd: pytest.CaptureFixture[str]) -> None:
    """The default reports nothing, and any other callback can replace it."""
    expected = list(inspect.signature(progress.Progress.__call__).parameters.values())[1:]
    callback: progress.Progress = progress.silent

    callback("photos", 1, 2, note="loss 0.5")

    assert list(inspect.signature(progress.silent).parameters.values()) == expected
    assert capfd.readouterr() == ("", "")
