"""The server: its address, its end, and what survives it."""

import http.client
import json
import signal
import socket
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from segkit.dataset import Dataset
from segkit.errors import UsageError
from segkit.review import server
from segkit.review.security import HEADER
from segkit.review.session import Session
from tests.review import serving


def _ask(url: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    parts = urlsplit(url)
    cookie = f"segkit-{parts.port}={parse_qs(parts.query)['token'][0]}"
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=30)
    headers = {"Cookie": cookie, HEADER: "1", "Content-Type": "application/json"}
    connection.request("GET" if body is None else "POST", path, None if body is None else json.dumps(body), headers)
    response = connection.getresponse()
    content: dict[str, Any] = json.loads(response.read())
    connection.close()
    return {"status": response.status, **content}


def test_it_listens_on_loopback(rooms: Dataset) -> None:
    """Other machines cannot connect, and the URL works as it is."""
    with serving.served(rooms) as url:
        assert urlsplit(url).hostname == "127.0.0.1"
        assert _ask(url, "/api/items")["total"] == 6


@pytest.mark.parametrize("host", ["127.0.0.1", "no such host"])
def test_a_taken_port_or_unknown_host_is_named(session: Session, host: str) -> None:
    """The error says which, and what to do."""
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(UsageError, match=f"{host}.*Choose another"):
        server.Server(session, host, other.getsockname()[1], lambda _: None)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_in_order(rooms: Dataset, number: signal.Signals) -> None:
    """Ctrl-C is how a review ends: exit code 0, no traceback, and the dataset is free."""
    with serving.command(rooms.folder) as (process, url):
        assert _ask(url, "/api/items")["status"] == 200
        process.send_signal(number)
        _, errors = process.communicate(timeout=30)

    assert (process.returncode, errors) == (0, "")
    with rooms.writing():
        pass


def test_kill_9_loses_nothing_that_was_acknowledged(rooms: Dataset) -> None:
    """Edits whose response arrived are there after the next start, with their revision and their undo."""
    key = rooms[0].key
    with serving.command(rooms.folder) as (process, url):
        for revision in range(5):
            stroke = {"label": 15 + revision, "runs": [0, 50]}
            assert _ask(url, "/api/relabel", {"id": key, "rev": revision, "strokes": [stroke]})["status"] == 200
        process.kill()

    with serving.served(Dataset.open(rooms.folder)) as url:
        details = _ask(url, f"/api/triples/{key}")
        assert (details["rev"], details["undoable"]) == (5, 5)
        _ask(url, "/api/undo", {"id": key, "rev": 5})
    assert (rooms.get([key])[0].labels.ravel()[:50] == 18).all()
