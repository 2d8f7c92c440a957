"""What the page sends is validated."""

import pytest

from segkit.errors import UsageError
from segkit.review import messages

KEY = "0123456789abcdef"


@pytest.mark.parametrize(
    "data",
    [
        b"", b"null", b"[]", b"\xff\xfe", b"[" * 100_000, b'{"id": NaN}', b'{"id": "\\ud800", "rev": 1, "text": ""}',
        b'{"id": "../../evil", "rev": 1, "text": "x"}', b'{"id": "0123456789ABCDEF", "rev": 1, "text": "x"}',
        b'{"id": "0123456789abcdef", "text": "x"}', b'{"id": "0123456789abcdef", "rev": null, "text": "x"}',
        b'{"id": "0123456789abcdef", "rev": -1, "text": "x"}', b'{"id": "0123456789abcdef", "rev": 1, "text": 7}',
        b'{"id": "0123456789abcdef", "rev": 1, "text": "x", "more": 1}',
    ],
)  # fmt: skip
def test_odd_requests_are_refused(data: bytes) -> None:
    """Anything but the expected object raises a UsageError, whatever a decoder makes of it."""
    with pytest.raises(UsageError, match="not understood"):
        messages.decode(messages.SetPrompt, data)


def test_strokes_are_pairs() -> None:
    """Runs are sent flat; a start without a length is refused."""
    change = messages.decode(
        messages.Relabel, f'{{"id": "{KEY}", "rev": 0, "strokes": [{{"label": 3, "runs": [0, 2, 9, 1]}}]}}'.encode()
    )

    assert change.strokes[0].stroke().runs == ((0, 2), (9, 1))
    with pytest.raises(UsageError, match="pairs"):
        messages.Painted(3, (0, 2, 9)).stroke()


@pytest.mark.parametrize("text", ["", "..", "0123456789ABCDEF", f"{KEY}\n", KEY + "0", "../../../etc/passwd"])
def test_only_keys_are_keys(text: str) -> None:
    """An address that is not 16 hex digits names no triple."""
    assert messages.key(KEY) == KEY
    with pytest.raises(KeyError):
        messages.key(text)
