"""Foreign requests are refused before they reach the dataset."""

from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from segkit.dataset import Dataset
from segkit.review.security import HEADER, MAX_BODY, Access
from tests.review.conftest import ORIGIN


def _prompt(rooms: Dataset) -> dict[str, object]:
    return {"id": rooms[0].key, "text": "foreign", "rev": 0}


def test_every_start_has_its_secret() -> None:
    """The token has 256 random bits, and is not printed with the value that holds it."""
    access = Access(1)

    assert access.token != Access(1).token
    assert len(access.token) >= 43
    assert access.token not in repr(access)


@pytest.mark.parametrize("path", ["/", "/api/items", "/api/dataset", "/static/main.js", "/?token=wrong", "/?token=%ff"])
def test_nothing_is_served_without_the_token(stranger: TestClient, path: str) -> None:
    """Page, files and data need the token or its cookie; a token of another start is none."""
    assert stranger.get(path).status_code == 401
    assert stranger.get(path, headers={"Cookie": "segkit-4321=wrong"}).status_code == 401


def test_the_token_counts_only_for_the_page(stranger: TestClient) -> None:
    """Only the first address carries it: addresses of data refuse it, and scripts cannot read the cookie."""
    assert stranger.get("/api/items?token=secret").status_code == 401

    cookie = stranger.get("/?token=secret").headers["set-cookie"]

    assert {"HttpOnly", "SameSite=Strict"} <= set(cookie.split("; "))
    assert stranger.get("/api/items").status_code == 200


@pytest.mark.parametrize("host", ["evil.example:4321", "localhost.evil.example:4321", "127.0.0.1", "127.0.0.1:1", ""])
def test_names_of_other_sites_are_refused(client: TestClient, host: str) -> None:
    """A site whose name resolves to this machine (DNS rebinding) gets nothing."""
    assert client.get("/api/items", headers={"Host": host}).status_code == 403


def test_an_open_server_has_addresses_but_no_foreign_name() -> None:
    """With --host, any address of the machine is accepted; on loopback, its own names only."""
    assert Access(80, is_open=True).is_host("192.168.1.5:80")
    assert not Access(80, is_open=True).is_host("evil.example:80")
    assert not Access(80).is_host("192.168.1.5:80")
    assert Access(80).is_host("localhost:80")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1:4322"}, 403),
        ({"Origin": "https://127.0.0.1:4321"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Content-Type": "text/plain"}, 415),
    ],
)
def test_posts_of_other_sites_are_refused(
    client: TestClient, rooms: Dataset, headers: dict[str, str], status: int
) -> None:
    """A form or script of another site changes nothing, although the browser sends the cookie."""
    assert client.post("/api/prompt", json=_prompt(rooms), headers=headers).status_code == status
    assert rooms[0].text != "foreign"


def test_a_post_needs_the_header(client: TestClient, rooms: Dataset) -> None:
    """Browsers let other sites send plain requests, but no header of ours; the page's own request is accepted."""
    same_origin = {"Origin": ORIGIN, "Sec-Fetch-Site": "same-origin"}
    del client.headers[HEADER]
    assert client.post("/api/prompt", json=_prompt(rooms), headers=same_origin).status_code == 403

    assert client.post("/api/prompt", json=_prompt(rooms), headers=same_origin | {HEADER: "1"}).status_code == 200
    assert rooms.get([rooms[0].key])[0].text == "foreign"


def test_large_bodies_are_refused(client: TestClient) -> None:
    """A length that is too large is refused unread; one without a length is read no further than the limit."""
    json = {"Content-Type": "application/json"}

    def endless() -> Iterator[bytes]:
        for _ in range(100):
            yield b" " * (MAX_BODY // 10)

    announced = client.post("/api/prompt", content=b"", headers=json | {"Content-Length": str(10**10)})

    assert announced.status_code == 413
    assert announced.headers["connection"] == "close"
    assert client.post("/api/prompt", content=endless(), headers=json).status_code == 413


@pytest.mark.parametrize("path", ["/", "/static/main.js", "/api/items", "/nothing", "/api/triples/0123456789abcdef"])
def test_every_response_protects_the_page(client: TestClient, path: str) -> None:
    """No inline script, no framing, no guessing of types, no address in Referer, no other site's access."""
    headers = client.get(path).headers
    policy = headers["content-security-policy"]

    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert "access-control-allow-origin" not in headers
