"""A small dataset, a session on it, and a client of its web application in this process."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from segkit.dataset import Dataset
from segkit.review import app
from segkit.review.security import HEADER, Access
from segkit.review.session import Session
from tests.conftest import NO_BROWSER, find_browser
from tests.review import rooms as data
from tests.review import serving
from tests.review.chromium import Open

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


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A browser without a window; tests are left out where there is none."""
    executable = find_browser()
    if executable is None:
        pytest.skip(NO_BROWSER)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(
            executable_path=executable, args=["--no-sandbox", "--disable-gpu", "--disable-extensions"]
        )
        yield launched
        launched.close()


@pytest.fixture
def open_page(browser: Any) -> Iterator[Open]:
    """Return a function that opens a dataset's page in a new tab, and fails the test after any error in the page."""
    faults: list[str] = []
    refusals = ["409", "422", "ERR_CONNECTION", "ERR_FAILED"]
    with ExitStack() as stack:

        def start(dataset: Dataset | str, *, expected: str = "409", **options: Any) -> Any:
            refusals.append(expected)
            url = dataset if isinstance(dataset, str) else stack.enter_context(serving.served(dataset))
            context = browser.new_context(viewport={"width": 1280, "height": 800}, **options)
            stack.callback(context.close)
            page = context.new_page()
            page.on("pageerror", lambda error: faults.append(str(error)))
            page.on("console", lambda line: faults.append(line.text) if line.type == "error" else None)
            page.goto(url)
            page.wait_for_selector(".cell .pictures")
            page.set_default_timeout(20_000)
            return page

        yield start
    assert [fault for fault in faults if not any(refusal in fault for refusal in refusals)] == []
