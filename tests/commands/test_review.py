"""segkit review."""

import json
from pathlib import Path

import pytest

from segkit.dataset import Dataset, decisions, relabel
from segkit.dataset.relabel import Stroke
from segkit.review import server
from segkit.review.messages import Click
from segkit.review.session import Session
from tests.conftest import Segkit
from tests.models.test_assist import write_sam2
from tests.review import rooms as data


@pytest.fixture
def rooms(tmp_path: Path) -> Dataset:
    """A dataset of three triples."""
    return data.dataset(tmp_path / "rooms", 3)


def test_the_address_is_printed(rooms: Dataset, segkit: Segkit, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first line has the URL with the token; other hosts get a warning."""

    def run(starting: server.Server) -> None:
        with starting._socket:
            starting._server._ready()

    monkeypatch.setattr(server.Server, "run", run)

    result = segkit("review", rooms.folder, "--no-browser")
    opened = segkit("review", rooms.folder, "--no-browser", "--host", "0.0.0.0")

    assert (result.code, result.err) == (0, "")
    assert "http://127.0.0.1:" in result.out.splitlines()[0]
    assert "?token=" in result.out.splitlines()[0]
    assert "Warning" in opened.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--where", "nonsense"], "nonsense"),
        (["--where", "class:nonsense"], "nonsense"),
        (["--forget-originals", "--export-corrections", "x"], "exclude"),
        (["--tokenizer", "nowhere"], "nowhere"),
    ],
)
def test_mistakes_are_named_before_the_page_opens(
    rooms: Dataset, segkit: Segkit, options: list[str], message: str
) -> None:
    """A malformed condition, a missing tokenizer and options that exclude each other end with one line."""
    result = segkit("review", rooms.folder, "--no-browser", *options)

    assert result.code == 2
    assert message in result.err


def test_a_network_for_clicks_is_loaded(
    rooms: Dataset, segkit: Segkit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """--assist takes a folder with SAM 2, whose masks the session returns."""
    sessions: list[Session] = []

    def start(session: Session, *_: object) -> Idle:
        sessions.append(session)
        return Idle()

    monkeypatch.setattr(server, "Server", start)

    result = segkit("review", rooms.folder, "--no-browser", "--assist", write_sam2(tmp_path / "sam2"))

    assert result.code == 0
    runs = sessions[0].assist(Click(rooms[0].key, ((30.0, 30.0, True),)))["runs"]
    assert len(runs) % 2 == 0
    assert sum(runs[1::2]) <= rooms[0].width * rooms[0].height


class Idle:
    """A server that ends at once."""

    def run(self) -> None:
        """Do nothing."""


def test_corrections_are_carried_to_another_copy(rooms: Dataset, tmp_path: Path, segkit: Segkit) -> None:
    """Two persons share the work by a file; what both decided differently is listed and not replaced."""
    other = data.dataset(tmp_path / "other", 3)
    keys = [triple.key for triple in rooms]
    relabel.relabel(rooms, keys[0], [Stroke(15, ((0, 50),))])
    decisions.decide(rooms, keys[1], "accepted")
    decisions.decide(other, keys[1], "rejected")
    file = tmp_path / "corrections.jsonl"

    exported = segkit("review", rooms.folder, "--export-corrections", file)
    imported = segkit("review", other.folder, "--import-corrections", file)

    assert (exported.code, imported.code) == (0, 0)
    assert len([json.loads(line) for line in file.read_text().splitlines()]) >= 2
    assert (Dataset.open(other.folder).get([keys[0]])[0].labels == rooms.get([keys[0]])[0].labels).all()
    assert "1 map, " in imported.out
    assert "1 not taken over" in imported.out


def test_originals_are_forgotten(rooms: Dataset, segkit: Segkit) -> None:
    """The corrected map stays, and cannot be undone."""
    key = rooms[0].key
    relabel.relabel(rooms, key, [Stroke(15, ((0, 50),))])

    result = segkit("review", rooms.folder, "--forget-originals")

    assert "1 map" in result.out
    assert relabel.state(rooms, key).undoable == 0
    assert (rooms.get([key])[0].labels.ravel()[:50] == 15).all()


def test_forgetting_nothing_is_no_error(rooms: Dataset, segkit: Segkit) -> None:
    """A dataset without any edit has no originals."""
    result = segkit("review", rooms.folder, "--forget-originals")

    assert (result.code, "0 maps" in result.out) == (0, True)
