"""segkit snap, through the command line."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segkit.maps import codec
from segkit.toy import world
from segkit.toy.world import damage
from tests.conftest import Segkit

TRUTH = damage.place(3, 9, 256)


def write_maps(folder: Path) -> Path:
    """Write an exact map, a JPEG, and a map with swapped red and blue in a subfolder."""
    (folder / "below").mkdir(parents=True)
    damage.painted(TRUTH).save(folder / "exact.png")
    damage.painted(TRUTH).save(folder / "soft.jpg", quality=75)
    damage.by("bgr", TRUTH).save(folder / "below" / "swapped.png")
    return folder


@pytest.fixture
def maps(tmp_path: Path) -> Path:
    """A folder with an exact map, a JPEG, and a map with swapped red and blue in a subfolder."""
    return write_maps(tmp_path / "maps")


RECORD = ".segkit-snap/repaired.jsonl"


def bytes_of(folder: Path) -> dict[str, bytes]:
    """Return the contents of all files below a folder."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_is_repaired_into_another(segkit: Segkit, maps: Path, tmp_path: Path) -> None:
    """Each map becomes an exact indexed PNG; the originals are unchanged, and the causes are reported."""
    before = bytes_of(maps)

    done = segkit("snap", maps, "-o", tmp_path / "out", "--json")

    assert (done.code, done.err) == (0, "")
    outcomes = {outcome["file"]: outcome for outcome in json.loads(done.out)["maps"]}
    assert {name: outcome["cause"] for name, outcome in outcomes.items()} == {
        "exact.png": "exact",
        "soft.jpg": "jpeg",
        "below/swapped.png": "bgr",
    }
    assert bytes_of(maps) == before
    assert bytes_of(tmp_path / "out").keys() - {RECORD} == {"exact.png", "soft.png", "below/swapped.png"}
    for outcome in outcomes.values():
        image = Image.open(outcome["output"])
        assert codec.is_exact(image, damage.ADE)
        assert (np.asarray(image) != TRUTH).mean() < 0.01
    assert segkit("check-palette", tmp_path / "out").code == 0


def test_a_single_map_can_be_given_a_name(segkit: Segkit, maps: Path, tmp_path: Path) -> None:
    """-o may name the repaired file of a single map; the table shows its cause."""
    done = segkit("snap", maps / "soft.jpg", "-o", tmp_path / "repaired.png")

    assert done.code == 0
    assert "jpeg" in done.out
    assert "1 map repaired." in done.out
    assert codec.is_exact(Image.open(tmp_path / "repaired.png"), damage.ADE)


def test_an_irreparable_map_does_not_stop_the_others(segkit: Segkit, maps: Path, tmp_path: Path) -> None:
    """Maps that cannot be repaired are listed with the reason, and the exit code is 1."""
    (maps / "broken.png").write_bytes(b"not a picture")
    damage.painted(TRUTH).convert("L").save(maps / "grey.png")

    done = segkit("snap", maps, "-o", tmp_path / "out")

    assert done.code == 1
    assert "broken.png does not open" in done.out
    assert "grey.png cannot be repaired: the colours were converted to grey" in done.out
    assert "3 maps repaired, 2 not repaired." in done.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["maps"], "Pass either -o or --in-place"),
        (["maps", "-o", "out", "--in-place"], "Pass either -o or --in-place"),
        (["nowhere", "-o", "out"], "nowhere does not exist"),
        (["maps", "-o", "maps"], "maps is the folder of the maps. Pass another folder, or --in-place."),
        (["maps", "-o", "out", "--palette", "mine"], "'mine' is not a palette"),
        (["maps", "-o", "out", "--from", "magic"], "'magic' is not one of"),
    ],
)
def test_invalid_arguments_are_refused(
    segkit: Segkit, maps: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    """The error states what was found and what to do, and nothing is written."""
    monkeypatch.chdir(maps.parent)
    before = bytes_of(maps.parent)

    done = segkit("snap", *arguments)

    assert done.code == 2
    assert message in " ".join(done.err.split())
    assert bytes_of(maps.parent) == before


def test_painted_areas_are_told(segkit: Segkit, tmp_path: Path) -> None:
    """The output says which class a colour stands for, and what to do about one that stands for none."""
    folder = tmp_path / "maps"
    folder.mkdir()
    for name, color in (("near", (13, 100, 250)), ("far", (0xA8, 0x77, 0xFF))):
        image = damage.painted(TRUTH)
        image.paste(color, (20, 20, 120, 120))
        image.save(folder / f"{name}.png")

    done = segkit("snap", folder, "-o", tmp_path / "out")

    text = " ".join(done.out.split())
    assert done.code == 1
    assert "near.png: 10,000 flat pixels of #0D64FA, no ADE20K colour; the nearest is sofa, 5.7 away." in text
    assert "far.png cannot be repaired: 10,000 flat pixels of #A877FF, no ADE20K colour" in text
    assert "pass that: --palette FILE" in text
    assert "--unsure unlabelled" in text
    assert "1 map repaired, 1 not repaired." in text
    assert segkit("snap", folder, "-o", tmp_path / "all", "--unsure", "unlabelled").code == 0


def test_the_first_index_can_be_told(segkit: Segkit, tmp_path: Path) -> None:
    """Where nothing tells whether classes count from 0 or 1, the options are named; both work."""
    values = np.kron(np.array([[100, 101], [102, 103]], np.uint8), np.ones((32, 32), np.uint8))
    Image.fromarray(values).save(tmp_path / "ids.png")

    asked = segkit("snap", tmp_path / "ids.png", "-o", tmp_path / "out.png")

    assert asked.code == 1
    assert "If wall is 0: --first-id 0; if it is 1: --first-id 1" in " ".join(asked.out.split())
    for first in (0, 1):
        path = tmp_path / f"{first}.png"
        done = segkit("snap", tmp_path / "ids.png", "-o", path, "--first-id", first)
        assert done.code == 0
        assert f"were counted from {first}" in done.out
        assert f"use --first-id {1 - first}" in " ".join(done.out.split())
        assert (np.asarray(Image.open(path)) == values - first).all()


def test_a_map_beside_its_photo_is_refused(segkit: Segkit, tmp_path: Path) -> None:
    """Half of the picture fits no class, so a repaired map would be an invention."""
    scene = world.scene(3, (256, 256))
    both = Image.new("RGB", (512, 256))
    both.paste(scene.photo, (0, 0))
    both.paste(damage.painted(scene.labels), (256, 0))
    both.save(tmp_path / "both.png")

    done = segkit("snap", tmp_path / "both.png", "-o", tmp_path / "out.png")

    assert done.code == 1
    assert "cannot be repaired" in done.out
    assert not (tmp_path / "out.png").exists()


def test_a_map_that_contradicts_its_folder_is_refused(segkit: Segkit, tmp_path: Path) -> None:
    """Where four maps count from 0 and one from 1, the one is named, and repaired only by itself."""
    folder = tmp_path / "maps"
    folder.mkdir()
    for seed in range(5):
        labels = world.scene(seed, (256, 256)).labels
        Image.fromarray(labels + (seed == 4)).save(folder / f"{seed}.png")

    done = segkit("snap", folder, "-o", tmp_path / "out")
    alone = segkit("snap", folder / "4.png", "-o", tmp_path / "4.png")

    assert (done.code, alone.code) == (1, 0)
    assert "4.png cannot be repaired: its classes count from 1, those of the other maps from 0" in done.out
    assert "4 maps repaired, 1 not repaired." in done.out
    assert (np.asarray(Image.open(tmp_path / "4.png")) == world.scene(4, (256, 256)).labels).all()


def test_a_refusal_that_all_maps_share_is_printed_once(segkit: Segkit, tmp_path: Path) -> None:
    """A folder of photos is refused in two lines; repaired maps are where the quoted path says."""
    folder = tmp_path / "my maps"
    folder.mkdir()
    for number in range(5):
        world.scene(0, (320, 240)).photo.save(folder / f"{number}.jpg", quality=80 + number)
    damage.by("bgr", world.scene(5, (128, 128)).labels).save(folder / "map.png")

    done = segkit("snap", folder, "-o", tmp_path / "fixed maps").out

    assert done.count("cannot be repaired") == 1
    assert "... and 4 more like it: 1.jpg, 2.jpg, 3.jpg, 4.jpg\n" in done
    assert f"Repaired: '{tmp_path / 'fixed maps' / 'map.png'}'\n" in done
    assert f"Next: segkit check-palette '{tmp_path / 'fixed maps' / 'map.png'}'\n" in done


def test_no_advice_removes_an_original(segkit: Segkit, tmp_path: Path) -> None:
    """A JPEG map beside a PNG map of the same name is refused without calling the PNG in the way."""
    labels = world.scene(3, (128, 128)).labels
    folder = tmp_path / "maps"
    folder.mkdir()
    damage.painted(labels).save(folder / "a.png")
    damage.painted(labels).save(folder / "a.jpg")

    done = segkit("snap", folder, "--in-place")

    assert done.code == 2
    assert "Rename one of them." in done.err
    assert "or remove" not in done.err
    assert sorted(path.name for path in tmp_path.rglob("a.*")) == ["a.jpg", "a.png"]


def test_maps_in_cocos_colours_say_how_to_convert_them(segkit: Segkit, tmp_path: Path) -> None:
    """They are exact in their own palette, which the advised check names."""
    damage.by("coco", world.scene(3, (128, 128)).labels).save(tmp_path / "coco.png")

    done = segkit("snap", tmp_path / "coco.png", "-o", tmp_path / "out.png")
    advised = done.out.splitlines()[-1].removeprefix("Next: segkit ").split()

    assert "--to ade20k" in done.out
    assert segkit(*advised).code == 0


def test_maps_at_a_url_are_refused_with_the_way_round(segkit: Segkit, tmp_path: Path) -> None:
    """The URL is named as it was typed, not as a path that lost a slash."""
    for arguments in (("snap", "s3://rooms/maps", "-o", tmp_path / "out"), ("check-palette", "s3://rooms/maps")):
        result = segkit(*arguments)

        assert result.code == 2
        assert "s3://rooms/maps" in result.err
        assert "Copy them first; segkit import reads maps from a URL" in result.err


def test_a_map_that_no_jpeg_settings_explain_is_a_finding(segkit: Segkit, tmp_path: Path) -> None:
    """A JPEG file whose chroma is halved across only (4:2:2) is repaired less exactly: it says so, with exit code 1."""
    (tmp_path / "maps").mkdir()
    damage.painted(TRUTH).save(tmp_path / "maps" / "a.jpg", quality=90, subsampling="4:2:2")
    damage.painted(TRUTH).save(tmp_path / "maps" / "b.jpg", quality=90)

    shown = segkit("snap", tmp_path / "maps", "-o", tmp_path / "shown")
    told = segkit("snap", tmp_path / "maps", "-o", tmp_path / "told", "--json")

    assert (shown.code, told.code) == (1, 1)
    assert "a.jpg: No settings of JPEG explain its damage" in shown.out
    assert "2 maps repaired." in shown.out
    concerns = {outcome["file"]: outcome["concern"] for outcome in json.loads(told.out)["maps"]}
    assert concerns["a.jpg"].startswith("No settings of JPEG")
    assert concerns["b.jpg"] == ""
