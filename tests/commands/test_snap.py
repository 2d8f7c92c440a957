"""segkit snap, through the command line."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segkit.maps import codec
from segkit.toy.world import damage
from tests.conftest import Segkit

TRUTH = damage.place(3, 9, 256)


@pytest.fixture
def maps(tmp_path: Path) -> Path:
    """A folder with an exact map, a JPEG, and one with red and blue swapped in a folder below."""
    folder = tmp_path / "maps"
    (folder / "below").mkdir(parents=True)
    damage.painted(TRUTH).save(folder / "exact.png")
    damage.painted(TRUTH).save(folder / "soft.jpg", quality=75)
    damage.by("bgr", TRUTH).save(folder / "below" / "swapped.png")
    return folder


def bytes_of(folder: Path) -> dict[str, bytes]:
    """Return the content of all files below a folder."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_is_mended_into_another(segkit: Segkit, maps: Path, tmp_path: Path) -> None:
    """Each map becomes an exact indexed PNG of its name; the originals stay; the causes are told."""
    before = bytes_of(maps)

    done = segkit("snap", maps, "-o", tmp_path / "out", "--json")

    assert (done.code, done.err) == (0, "")
    told = {each["file"]: each for each in json.loads(done.out)["maps"]}
    assert {name: each["cause"] for name, each in told.items()} == {
        "exact.png": "exact",
        "soft.jpg": "jpeg",
        "below/swapped.png": "bgr",
    }
    assert bytes_of(maps) == before
    assert set(bytes_of(tmp_path / "out")) == {"exact.png", "soft.png", "below/swapped.png"}
    for each in told.values():
        image = Image.open(each["output"])
        assert codec.is_exact(image, damage.ADE)
        assert (np.asarray(image) != TRUTH).mean() < 0.01
    assert segkit("check-palette", tmp_path / "out").code == 0


def test_one_map_can_be_given_a_name(segkit: Segkit, maps: Path, tmp_path: Path) -> None:
    """And the table shows what was done."""
    done = segkit("snap", maps / "soft.jpg", "-o", tmp_path / "mended.png")

    assert done.code == 0
    assert "jpeg" in done.out
    assert "1 maps mended." in done.out
    assert codec.is_exact(Image.open(tmp_path / "mended.png"), damage.ADE)


def test_in_place_keeps_the_originals(segkit: Segkit, maps: Path) -> None:
    """They lie beside the folder; a second run changes nothing more."""
    before = bytes_of(maps)

    first, second = segkit("snap", maps, "--in-place"), segkit("snap", maps, "--in-place")

    assert (first.code, second.code) == (0, 0)
    assert set(bytes_of(maps)) == {"exact.png", "soft.png", "below/swapped.png"}
    assert bytes_of(maps.with_name("maps.before-snap")) == before
    assert segkit("check-palette", maps).code == 0


def test_a_map_that_cannot_be_mended_does_not_stop_the_others(segkit: Segkit, maps: Path, tmp_path: Path) -> None:
    """It is named with the reason, and the exit code says that something is left."""
    (maps / "broken.png").write_bytes(b"no picture")
    damage.painted(TRUTH).convert("L").save(maps / "grey.png")

    done = segkit("snap", maps, "-o", tmp_path / "out")

    assert done.code == 1
    assert "broken.png does not open" in done.out
    assert "grey.png cannot be repaired: the colours were converted to grey" in done.out
    assert "3 maps mended, 2 not." in done.out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["maps"], "Say where the mended maps go"),
        (["maps", "-o", "out", "--in-place"], "one of the two"),
        (["nowhere", "-o", "out"], "nowhere does not exist"),
        (["maps", "-o", "maps"], "already exists"),
        (["maps", "-o", "out", "--palette", "mine"], "'mine' is not a palette"),
        (["maps", "-o", "out", "--from", "magic"], "'magic' is not one of"),
    ],
)
def test_mistakes_are_told_in_a_line(
    segkit: Segkit, maps: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], told: str
) -> None:
    """What was found and what to type; nothing is written."""
    monkeypatch.chdir(maps.parent)
    before = bytes_of(maps.parent)

    done = segkit("snap", *words)

    assert done.code == 2
    assert told in " ".join(done.err.split())
    assert bytes_of(maps.parent) == before


def test_two_maps_of_one_name_are_refused(segkit: Segkit, maps: Path, tmp_path: Path) -> None:
    """Before anything is written."""
    damage.painted(TRUTH).save(maps / "soft.png")

    done = segkit("snap", maps, "-o", tmp_path / "out")

    assert done.code == 2
    assert "would both become" in done.err
    assert not (tmp_path / "out").exists()


def test_a_dataset_is_left_alone(segkit: Segkit, tmp_path: Path) -> None:
    """Its maps are exact, and its record has their hashes."""
    (tmp_path / "rooms" / ".segkit").mkdir(parents=True)

    done = segkit("snap", tmp_path / "rooms", "--in-place")

    assert done.code == 2
    assert "its maps are exact" in done.err
