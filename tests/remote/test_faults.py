"""What exceptions of the stores' libraries mean."""

import httpx2
import pytest
import requests
from huggingface_hub.errors import OfflineModeIsEnabled

from segkit.remote.faults import NoBucketError, fault_of, shown
from segkit.remote.retry import Patience


def answered(status: int, **headers: str) -> requests.HTTPError:
    """Return the exception of an HTTP answer."""
    answer = requests.Response()
    answer.status_code = status
    answer.headers.update(headers)
    return requests.HTTPError("no", response=answer)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (httpx2.ConnectError("[Errno 111] Connection refused"), "unreachable"),
        (httpx2.ReadTimeout("slow"), "failing"),
        (httpx2.RemoteProtocolError("cut"), "incomplete"),
        (requests.exceptions.SSLError("certificate"), "refused"),
        (requests.exceptions.ChunkedEncodingError("cut"), "incomplete"),
        (OfflineModeIsEnabled("offline"), "refused"),
        (answered(401), "forbidden"),
        (answered(404), "missing"),
        (answered(429), "failing"),
        (answered(416), "incomplete"),
        (answered(418), "refused"),
        (KeyError("a bug of ours"), None),
    ],
    ids=repr,
)
def test_exceptions_have_a_meaning(error: Exception, reason: str | None) -> None:
    """A reason decides whether another request may help; what is not the store's is not hidden."""
    fault = fault_of(error, "hf://datasets/user/rooms")

    assert (fault.reason if fault else None) == reason
    assert fault is None or "\n" not in str(fault.error())


def test_a_fault_of_the_whole_store_names_what_was_typed() -> None:
    """Neither a file that segkit keeps for itself, nor one of many in a bucket that does not exist."""
    typed, hidden = "s3://nowhere/rooms/", "s3://nowhere/rooms/.segkit-export/export.json"
    messages = [
        fault.message
        for error, url in ((NoBucketError(), hidden), (answered(403), hidden), (answered(403), f"{typed}000000.tar"))
        if (fault := fault_of(error, url, typed))
    ]

    assert "bucket nowhere does not exist. Check the name in s3://nowhere/rooms/," in messages[0]
    assert "Access to s3://nowhere/rooms/ is denied" in messages[1]
    assert "Access to s3://nowhere/rooms/000000.tar is denied" in messages[2]


def test_the_store_says_how_long_to_wait() -> None:
    """Retry-After counts, up to the longest delay."""
    fault = fault_of(answered(429, **{"Retry-After": "7"}), "https://host/a")
    patience = Patience(longest=30, jitter=lambda: 0.0)

    assert fault is not None
    assert patience.delay(1, fault.wait) == 7
    assert patience.delay(1, 500) == 30
    assert [patience.delay(attempt) for attempt in (1, 2, 3, 9)] == [0.25, 0.5, 1, 15]


def test_a_url_is_shown_without_secrets() -> None:
    """Neither password nor query; local paths stay."""
    assert shown("https://user:secret@host/a?signature=secret#x") == "https://host/a"
    assert shown("in/a?b") == "in/a?b"
