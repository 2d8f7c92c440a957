"""Masks from clicks: embedded once, answered as runs."""

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from starlette.testclient import TestClient

from segkit.dataset import Dataset
from segkit.errors import UsageError
from segkit.review.assist import KEPT, Assist, Point
from segkit.review.messages import Click, Prepare
from segkit.review.session import Networks, Session


class Discs:
    """A network whose things are discs around points, without those around points outside."""

    name = "discs"

    def __init__(self) -> None:
        self.embedded: list[bytes] = []

    def embed(self, photo: Image.Image) -> object:
        """Return nothing, and remember the photo."""
        self.embedded.append(photo.tobytes())
        return None

    def mask(self, embedding: object, size: tuple[int, int], points: Sequence[Point]) -> NDArray[np.bool_]:
        """Return the discs."""
        rows, columns = np.mgrid[: size[1], : size[0]] + 0.5
        mask = np.zeros((size[1], size[0]), bool)
        for x, y, is_inside in points:
            mask[np.hypot(rows - y, columns - x) < 12.3] = is_inside
        return mask


def test_a_photo_is_embedded_once(rooms: Dataset) -> None:
    """Preparing and any number of clicks cost one embedding; few are kept."""
    network = Discs()
    session = Session(rooms, networks=Networks(Assist(network)))
    keys = [triple.key for triple in rooms]
    session.prepare(Prepare(keys[0]))
    for _ in range(2):
        session.assist(Click(keys[0], ((50.0, 50.0, True),)))
    assert network.embedded == [rooms[0].photo.tobytes()]

    for key in keys[1 : KEPT + 1]:
        session.prepare(Prepare(key))
    session.prepare(Prepare(keys[0]))

    assert len(network.embedded) == KEPT + 2


def test_runs_are_the_pixels_of_the_mask(rooms: Dataset) -> None:
    """The page gets starts and lengths in row-major order."""
    triple, points = rooms[0], ((50.0, 50.0, True), (60.0, 50.0, False))
    session = Session(rooms, networks=Networks(Assist(Discs())))

    runs = session.assist(Click(triple.key, points))["runs"]

    flat = np.zeros(triple.width * triple.height, bool)
    for start, length in zip(runs[::2], runs[1::2], strict=True):
        flat[start : start + length] = True
    assert np.array_equal(flat.reshape(triple.labels.shape), Discs().mask(None, (triple.width, triple.height), points))


def test_without_a_network_the_page_works(session: Session, rooms: Dataset, client: TestClient) -> None:
    """Clicks are refused with what to do; preparing does nothing."""
    with pytest.raises(UsageError, match="--assist"):
        session.assist(Click(rooms[0].key, ((1.0, 1.0, True),)))
    body = {"id": rooms[0].key}
    assert client.post("/api/prepare", json=body).json() == {}
    assert client.post("/api/assist", json=body | {"points": [[1, 1, True]]}).status_code == 400
    assert client.post("/api/assist", json=body | {"points": [["x", 1, True]]}).status_code == 400
    assert client.get("/api/dataset").json()["assist"] == ""
