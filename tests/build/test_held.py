"""Decoded photos wait in memory or on disk, and come back as they were; without room they are decoded again."""

import dataclasses
import tempfile
from pathlib import Path

import pytest

from segkit import photos, storage
from segkit.build import held
from segkit.build.arrival import Loaded
from segkit.build.engines.opening import load_photo
from segkit.dataset import Dataset
from segkit.photos import Limits, Photo
from tests.dataset.test_dataset import build, contents, render

BYTES = 128 * 96 * 3
"""Pixels of a photo of the tests."""


@pytest.fixture
def loaded(tmp_path: Path) -> list[Loaded]:
    """Photos as they are read."""
    paths = sorted(render(tmp_path / "photos", 6).iterdir())
    return [load_photo(path.read_bytes, path.name, Limits(64, 90, 96), lambda *_: False) for path in paths]


def values(one: Loaded) -> tuple[object, ...]:
    """Return all that a photo is compared by."""
    photo, grey = one.outcome, one.grey
    assert isinstance(photo, Photo)
    assert grey is not None
    rest = dataclasses.replace(one, outcome=None, grey=None)
    return rest, photo.image.tobytes(), photo.image.size, photo.geometry, photo.coarseness, grey.tobytes()


def test_photos_come_back_as_they_were(loaded: list[Loaded], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From memory and from files, of which each ends with its last photo; the folder never shows any."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(held, "MEMORY", 2 * BYTES)
    monkeypatch.setattr(held, "FILE_BYTES", 2 * BYTES)
    monkeypatch.setattr(storage, "free_space", lambda _: 100 * BYTES)

    with held.opened(folder) as pixels:
        assert all(pixels.add(3 * place, one) for place, one in enumerate(loaded))
        image = pixels.image(12)
        assert image
        assert image.tobytes() == loaded[4].outcome.image.tobytes()  # type: ignore[union-attr]
        assert list(folder.iterdir()) == []
        taken = [pixels.take(3 * place) for place in (0, 1, 2, 3)]
        closed = [file.closed for file in pixels._files]
        taken.append(pixels.take(15))
        assert pixels.take(16) is None

    expected = [values(loaded[place]) for place in (0, 1, 2, 3, 5)]
    assert [values(one) for one in taken if one] == expected
    assert closed == [True, False]
    assert all(file.closed for file in pixels._files)


def test_what_does_not_fit_is_not_held(loaded: list[Loaded], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the free disk space is left, and a full disk only ends the holding."""
    monkeypatch.setattr(held, "MEMORY", 0)
    monkeypatch.setattr(storage, "free_space", lambda _: 6 * BYTES)
    with held.opened(tmp_path) as pixels:
        assert [pixels.add(place, one) for place, one in enumerate(loaded)] == [True, True, False, False, False, False]
    with held.opened(None) as pixels:
        assert not pixels.add(0, loaded[0])
        assert pixels.image(0) is None

    monkeypatch.setattr(storage, "free_space", lambda _: 100 * BYTES)
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_: Path("/dev/full").open("r+b", buffering=0))  # noqa: SIM115
    with held.opened(tmp_path) as pixels:
        assert not pixels.add(0, loaded[0])
        assert pixels.take(0) is None


@pytest.mark.parametrize(("room", "fitting"), [(0, 0), (3 * BYTES, 2), (100 * BYTES, 6)])
def test_a_build_decodes_photos_once_where_there_is_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int, fitting: int
) -> None:
    """The dataset is the same with any room, and no file stays behind."""
    folder, decoded = render(tmp_path / "photos", 6), []
    build(folder, tmp_path / "whole")
    open_photo = photos.open_photo

    def counted(data: bytes, limits: Limits) -> Photo:
        decoded.append(len(data))
        return open_photo(data, limits)

    monkeypatch.setattr(photos, "open_photo", counted)
    monkeypatch.setattr(held, "MEMORY", 0)
    monkeypatch.setattr(storage, "free_space", lambda _: 2 * room)

    build(folder, tmp_path / "out")

    assert len(decoded) == 12 - fitting
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    assert len(Dataset.open(tmp_path / "out")) == 6
