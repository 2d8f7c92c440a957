"""segkit build-dataset on folders as people have them: other endings, floats, animations, links, copies of a NAS."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segkit.dataset import Dataset
from segkit.toy import world
from tests.conftest import Segkit
from tests.photos.test_tiff import deep_tiff


def build(segkit: Segkit, folder: Path, out: Path, *options: object) -> dict[str, Any]:
    """Run the command and return its JSON; every file found must be accounted for."""
    size = ("--min-size", 48, "--size", 64, "--no-caption")
    result = segkit("build-dataset", folder, "-o", out, *size, *options, "--json")
    assert (result.code, result.err) == (0, "")
    outcome: dict[str, Any] = json.loads(result.out)
    counted = (outcome["made"], outcome["kept"], *outcome["rejected"].values(), *outcome["skipped"].values())
    assert sum(counted) == outcome["found"]
    return outcome


def scene(seed: int) -> Image.Image:
    """Return a rendered photo of 128 x 96 pixels."""
    return world.scene(seed, (128, 96)).photo


def test_pictures_with_other_endings_are_counted_and_listed(
    segkit: Segkit, build_options: list[str], tmp_path: Path
) -> None:
    """Each is rejected with a reason and the way to have it read; following the advice works."""
    folder, out = tmp_path / "photos", tmp_path / "out"
    folder.mkdir()
    scene(1).save(folder / "ok.jpg")
    names = ("a.dng", "b.jxl", "c", "d.JPG_large", "e.jpg?w=1024")
    for name in names:
        scene(2).save(folder / name, "JPEG")

    outcome = build(segkit, folder, out, *build_options)
    listed = list(Dataset.open(out).rejections())
    (folder / "c").rename(folder / "c.jpg")
    renamed = build(segkit, folder, out, *build_options)

    assert (outcome["found"], outcome["made"], outcome["rejected"]) == (6, 1, {"unknown-ending": 5})
    assert [(rejection.source, rejection.reason) for rejection in listed] == [(n, "unknown-ending") for n in names]
    assert all("holds JPEG" in item.message and "rename it to end in .jpg" in item.message for item in listed)
    assert (renamed["made"], renamed["kept"], renamed["rejected"]) == (1, 1, {"unknown-ending": 4})


def test_a_float_tiff_becomes_a_triple(segkit: Segkit, build_options: list[str], tmp_path: Path) -> None:
    """RGB in 32-bit floats, as a scanner or renderer writes it, gives the pixels of the scene."""
    folder, out = tmp_path / "photos", tmp_path / "out"
    folder.mkdir()
    pixels = np.asarray(scene(3).resize((64, 48)))
    (folder / "float.tif").write_bytes(deep_tiff(pixels.astype(np.float32) / 255))

    build(segkit, folder, out, *build_options, "--photo-format", "png")

    (triple,) = Dataset.open(out)
    assert triple.geometry.conversions == ("float",)
    assert np.array_equal(np.asarray(triple.photo), pixels)


def test_the_frame_of_an_animation_is_recorded(segkit: Segkit, build_options: list[str], tmp_path: Path) -> None:
    """The triple of a GIF says that it is the first frame of three, and the dataset stays sound."""
    folder, out = tmp_path / "photos", tmp_path / "out"
    folder.mkdir()
    scene(1).save(folder / "a.gif", save_all=True, append_images=[scene(2), scene(3)])

    build(segkit, folder, out, *build_options)

    assert json.loads((out / "metadata.jsonl").read_text())["geometry"]["conversions"] == "first-frame-of-3"
    assert Dataset.open(out)[0].geometry.conversions == ("first-frame-of-3",)
    assert segkit("check", out).code == 0


@pytest.mark.parametrize("follow", [False, True])
def test_links_out_of_the_folder_are_followed_on_request_only(
    segkit: Segkit, build_options: list[str], tmp_path: Path, follow: bool
) -> None:
    """Without --follow-links, no triple and no record holds anything of the files outside."""
    folder, out, outside = tmp_path / "photos", tmp_path / "out", tmp_path / "private"
    for seed, path in enumerate((folder / "a.png", outside / "b.png", outside / "more" / "c.png")):
        path.parent.mkdir(parents=True, exist_ok=True)
        scene(seed).save(path)
    (outside / "secret.txt").write_text("the password is swordfish")
    (folder / "b.png").symlink_to(outside / "b.png")
    (folder / "more").symlink_to(outside / "more")
    (folder / "notes.txt").symlink_to(outside / "secret.txt")
    (folder / "loop").symlink_to(folder)

    outcome = build(segkit, folder, out, *build_options, *(["--follow-links"] if follow else []))

    assert [triple.source for triple in Dataset.open(out)] == ["a.png", *(["b.png", "more/c.png"] if follow else [])]
    assert outcome["skipped"] == ({"other-file": 1} if follow else {"link-outside": 3})
    stored = b"".join(path.read_bytes() for path in out.rglob("*") if path.is_file())
    assert b"swordfish" not in stored


def test_a_file_that_is_skipped_now_is_listed_at_once(segkit: Segkit, build_options: list[str], tmp_path: Path) -> None:
    """Links that an earlier build followed keep their triples and are listed; the next run changes nothing."""
    folder, out, outside = tmp_path / "photos", tmp_path / "out", tmp_path / "outside"
    for seed, path in enumerate((folder / "a.png", outside / "b.png")):
        path.parent.mkdir()
        scene(seed).save(path)
    scene(0).resize((64, 48)).save(outside / "c.png")
    for name in ("b.png", "c.png"):
        (folder / name).symlink_to(outside / name)
    build(segkit, folder, out, *build_options, "--follow-links")

    outcome = build(segkit, folder, out, *build_options)
    listed = (out / ".segkit" / "rejected.jsonl").read_bytes()
    build(segkit, folder, out, *build_options)

    assert (outcome["kept"], outcome["skipped"]) == (1, {"link-outside": 2})
    assert [json.loads(line)["reason"] for line in listed.splitlines()] == ["link-outside"] * 2
    assert len(Dataset.open(out)) == 2
    assert (out / ".segkit" / "rejected.jsonl").read_bytes() == listed
    assert build(segkit, folder, out, *build_options, "--follow-links")["kept"] == 2


def test_a_table_names_what_was_skipped(segkit: Segkit, build_options: list[str], tmp_path: Path) -> None:
    """Without --json, thumbnails and links appear in the table with their meaning."""
    folder = tmp_path / "photos"
    (folder / "@eaDir").mkdir(parents=True)
    scene(1).save(folder / "a.png")
    scene(1).resize((64, 48)).save(folder / "@eaDir" / "a.png")
    (folder / "b.png").symlink_to(tmp_path / "b.png")

    size = ("--min-size", 48, "--size", 64, "--no-caption")
    result = segkit("build-dataset", folder, "-o", tmp_path / "out", *size, *build_options)

    words = " ".join(result.out.replace("│", " ").split())
    assert "3 files found" in words
    assert "skipped: thumbnail (thumbnail or other data of a NAS, a phone or a" in words
    assert "skipped: link-outside (link that leads out of the folder" in words
    assert "rejected.jsonl" in words
