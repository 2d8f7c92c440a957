"""A small dataset, a session on it, and a client of its web application in this process."""

import shutil
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from segkit.dataset import Dataset
from segkit.review import app
from segkit.review.security import HEADER, Access
from segkit.review.session import Session
from tests.review import rooms as data

ORIGIN = "http://127.0.0.1:4321"
ACCESS = Access(4321, token="secret")


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a dataset of six triples. Read-only for tests."""
    return data.dataset(tmp_path_factory.mktemp("review") / "rooms").folder


@pytest.fixture
def rooms(built: Path, tmp_path: Path) -> Dataset:
    """A dataset of six triples."""
    shutil.copytree(built, tmp_path / "rooms")
    return Dataset.open(tmp_path / "rooms")


@pytest.fixture
def session(rooms: Dataset) -> Session:
    """A review of the dataset."""
    return Session(rooms)


@pytest.fixture
def stranger(session: Session) -> TestClient:
    """A client without the token."""
    return TestClient(app.build(session, ACCESS), base_url=ORIGIN, raise_server_exceptions=False)


@pytest.fixture
def client(stranger: TestClient) -> TestClient:
    """A client that has opened the page."""
    assert stranger.get("/?token=secret").status_code == 200
    stranger.headers[HEADER] = "1"
    return stranger
