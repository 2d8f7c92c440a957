"""The addresses of the web application."""

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from segkit.dataset import Dataset
from segkit.review import app
from tests.review.rooms import PALETTE

STATIC = Path(app.__file__).with_name("static")


def test_the_page_and_its_files_are_served(client: TestClient) -> None:
    """Every file that the page or a module refers to exists, with its type."""
    page = client.get("/")
    assert page.headers["content-type"].startswith("text/html")
    for path in STATIC.iterdir():
        response = client.get(f"/static/{path.name}")
        assert response.content == path.read_bytes()
        for name in [word.split('"')[0] for word in response.text.split('from "./')[1:]]:
            assert (STATIC / name).is_file()


def test_the_page_needs_no_other_host_and_no_build() -> None:
    """Scripts are modules beside the page, type-checked by TypeScript; nothing is inline and nothing from a CDN."""
    page = (STATIC / "index.html").read_text()

    assert '<script type="module" src="/static/main.js"></script>' in page
    assert page.count("<script") == 1
    assert "style=" not in page
    for path in STATIC.iterdir():
        text = path.read_text()
        assert "https://" not in text
        assert path.suffix != ".js" or text.startswith("// @ts-check\n")


def test_indices_arrive_exactly(client: TestClient, rooms: Dataset) -> None:
    """The map is the indexed PNG with the revision that it belongs to."""
    triple = rooms[0]

    response = client.get(f"/map/{triple.key}")

    assert response.headers["x-revision"] == "0"
    with Image.open(BytesIO(response.content)) as image:
        assert np.array_equal(np.asarray(image), triple.labels)


@pytest.mark.parametrize("kind", ["photo", "map"])
def test_pictures_arrive(client: TestClient, rooms: Dataset, kind: str) -> None:
    """Photos, maps and thumbnails open; those whose address has their hash are kept by the browser."""
    key = rooms[0].key
    full, small = client.get(f"/{kind}/{key}"), client.get(f"/thumbnails/{kind}/{key}?v=1")

    for response in (full, small):
        with Image.open(BytesIO(response.content)) as image:
            assert image.get_format_mimetype() == response.headers["content-type"]
    assert "immutable" in small.headers["cache-control"]


def test_areas_arrive_as_16_bit_numbers(client: TestClient, rooms: Dataset) -> None:
    """One number for each pixel."""
    triple = rooms[0]

    assert len(client.get(f"/areas/{triple.key}").content) == 2 * triple.width * triple.height


def test_a_triple_is_changed(client: TestClient, rooms: Dataset) -> None:
    """Each change is stored before the response, which has the new revision."""
    key = rooms[0].key
    changes: list[tuple[str, dict[str, Any]]] = [
        ("relabel", {"strokes": [{"label": 15, "runs": [0, 10]}], "what": "brush"}),
        ("undo", {}), ("redo", {}), ("prompt", {"text": "a room"}), ("decide", {"review": "accepted"}),
        ("move", {"split": "val"}),
    ]  # fmt: skip
    for revision, (name, body) in enumerate(changes):
        response = client.post(f"/api/{name}", json={"id": key, "rev": revision, **body})
        assert (response.status_code, response.json()["rev"]) == (200, revision + 1)

    triple = Dataset.open(rooms.folder).get([key])[0]
    assert (triple.text, triple.review, triple.split) == ("a room", "accepted", "val")
    assert (triple.labels.ravel()[:10] == 15).all()


def test_bulk_addresses_answer(client: TestClient, rooms: Dataset) -> None:
    """Classes, change, undo and decisions of many triples."""
    body = {"ids": [triple.key for triple in rooms], "old": PALETTE.find("wall").index, "new": 15}

    classes = client.post("/api/bulk/classes", json={"ids": body["ids"]}).json()["classes"]
    affected = next(number for label, number, _ in classes if label == body["old"])
    done = client.post("/api/bulk/relabel", json=body).json()
    undone = client.post("/api/bulk/undo", json={"token": done["token"]}).json()

    assert affected == len(done["changed"]) == len(undone["changed"]) > 0
    items = [{"id": triple.key, "rev": 0} for triple in rooms]
    decided = client.post("/api/bulk/decide", json={"items": items, "review": "accepted"}).json()
    assert len(decided["conflicts"]) == len(done["changed"])


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/items?where=nonsense", 400), ("/api/items?where=class:nonsense", 400), ("/api/items?start=x", 400),
        ("/api/triples/0123456789abcdef", 404), ("/map/..%2f..%2f..%2fetc%2fpasswd", 404), ("/photo/x", 404),
        ("/static/..%2fapp.py", 404), ("/static/app.py", 404), ("/nothing", 404), ("/api/prompt", 405),
    ],
)  # fmt: skip
def test_wrong_addresses_are_refused(client: TestClient, path: str, status: int) -> None:
    """With a reason as JSON, and no file outside the dataset."""
    response = client.get(path)

    assert response.status_code == status
    assert response.json()["error"]


def test_refusals_say_why(client: TestClient, rooms: Dataset) -> None:
    """A conflict names the present revision; a locked dataset, a wrong class and an empty prompt are explained."""
    key = rooms[0].key
    stroke = {"label": 200, "runs": [0, 1]}
    assert client.post("/api/prompt", json={"id": key, "rev": 0, "text": " "}).status_code == 400
    assert client.post("/api/relabel", json={"id": key, "rev": 0, "strokes": [stroke]}).status_code == 400
    conflict = client.post("/api/prompt", json={"id": key, "rev": 7, "text": "x"})
    assert (conflict.status_code, conflict.json()["rev"]) == (409, 0)

    with rooms.writing():
        locked = client.post("/api/prompt", json={"id": key, "rev": 0, "text": "x"})

    assert locked.status_code == 423
    assert "being written" in locked.json()["error"]


def test_a_missing_file_is_no_fault_of_the_server(client: TestClient, rooms: Dataset) -> None:
    """A photo that somebody deleted is reported as such."""
    (rooms.folder / rooms[0].file_name).unlink()

    assert client.get(f"/photo/{rooms[0].key}").status_code == 404


def test_a_damaged_map_is_an_error_with_a_reason(client: TestClient, rooms: Dataset) -> None:
    """The page can say what is wrong with the triple."""
    path = rooms.folder / rooms[0].conditioning_image_file_name
    path.write_bytes(path.read_bytes()[:60])

    response = client.get(f"/map/{rooms[0].key}")

    assert response.status_code in (422, 500)
    assert response.json()["error"]


def test_the_page_paints_with_the_palette(client: TestClient) -> None:
    """The colours that the page gets are those of the dataset, in index order."""
    classes = client.get("/api/dataset").json()["classes"]

    colors = b"".join(bytes.fromhex(color[1:]) for _, _, color in classes)

    assert colors.ljust(768, b"\0") == PALETTE.bytes
