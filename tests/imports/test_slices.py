"""Slices of a build, merged, give the bytes of one build: near-duplicates, copies and splits are judged over all."""

import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from segkit import storage
from segkit.build import pipeline, units
from segkit.build.settings import BuildSettings
from segkit.dataset import Dataset
from segkit.errors import SegkitError
from segkit.imports import request
from segkit.imports.settings import ImportSettings
from segkit.palette import Palette
from segkit.toy import world
from tests import forks
from tests.conftest import Segkit
from tests.dataset.test_dataset import Unbatched, brightness, contents, render

DERIVED = (".segkit/slice", ".segkit/report.html")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos with copies, near-duplicates, a chain of crops, and files that are rejected or passed over."""
    folder = render(tmp_path_factory.mktemp("slices") / "photos", 8)
    with Image.open(folder / "004.png") as image:
        image.resize((image.width * 2, image.height * 2)).save(folder / "larger.png")
        image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(folder / "mirrored.png")
    chain = world.scene(60, (320, 240)).photo  # each crop looks like the one before, the last one not like the first
    for place, name in enumerate(("m-first", "c-second", "q-third")):
        edge = place * 13
        chain.crop((edge, edge * 3 // 4, 320 - edge, 240 - edge * 3 // 4)).save(folder / f"{name}.png")
    (folder / "more").mkdir()
    for source, copy in (("002", "0-copy"), ("002", "more/copy"), ("m-first", "more/first")):
        (folder / f"{copy}.png").write_bytes((folder / f"{source}.png").read_bytes())
    for name in ("tiny", "more/tiny"):
        world.scene(9).photo.resize((64, 48)).save(folder / f"{name}.png")
    (folder / "damaged.png").write_bytes((folder / "003.png").read_bytes()[:900])
    (folder / "empty.jpg").touch()
    (folder / "notes.txt").write_text("no photo")
    return folder


def build(photos: Path, out: Path, **options: Any) -> None:
    """Build a dataset, or a slice of it, without networks and in small units."""
    chosen: dict[str, Any] = {"size": 96, "min_size": 80, "caption": False, "split": "val=0.2", **options}
    settings = BuildSettings(**chosen)
    tools = Unbatched(Palette.load("ade20k"), brightness, None, "brightness", "1", batch=2)
    before, units.UNIT = units.UNIT, 3
    try:
        pipeline.build_dataset(photos, out, settings, load=lambda _: tools)
    finally:
        units.UNIT = before


def slices(photos: Path, folder: Path, number: int, **options: Any) -> list[Path]:
    """Build all slices."""
    places = [folder / f"slice-{place}" for place in range(1, number + 1)]
    for place, out in enumerate(places, 1):
        build(photos, out, shard=f"{place}/{number}", **options)
    return places


def merge(places: list[Path], out: Path, **options: Any) -> None:
    """Merge slices through the library, in small units."""
    before, units.UNIT = units.UNIT, 3
    try:
        request.run(request.Request(places), out, ImportSettings(**options))
    finally:
        units.UNIT = before


def built(folder: Path) -> dict[str, bytes]:
    """Return the files of a dataset without the reports."""
    return {name: data for name, data in contents(folder).items() if not name.startswith(DERIVED)}


@pytest.mark.parametrize(("number", "keep"), [(1, False), (2, False), (3, False), (3, True), (23, False)])
def test_merged_slices_are_one_build(photos: Path, tmp_path: Path, number: int, keep: bool) -> None:
    """Every file is that of one build, dataset.toml included, even if slices have no photo; a rerun changes nothing."""
    build(photos, tmp_path / "whole", keep_duplicates=keep)
    places = slices(photos, tmp_path, number, keep_duplicates=keep)

    merge(places, tmp_path / "out")
    merged = built(tmp_path / "out")
    merge(places, tmp_path / "out")
    again = built(tmp_path / "out")
    build(photos, tmp_path / "out", keep_duplicates=keep)

    assert merged == again == built(tmp_path / "out") == built(tmp_path / "whole")
    reasons = {one.reason for one in Dataset.open(tmp_path / "out").rejections()}
    expected = {"identical", "too-small", "damaged", "empty", "other-file"}
    assert reasons == expected | (set() if keep else {"near-duplicate"})


def test_the_best_of_a_chain_decides_across_slices(photos: Path, tmp_path: Path) -> None:
    """A photo that loses only to one that itself loses, to a photo of another slice, stays, as in one build."""
    places = slices(photos, tmp_path, 3)
    merge(places, tmp_path / "out")

    sources = {triple.source for triple in Dataset.open(tmp_path / "out").triples()}
    assert {"larger.png", "m-first.png", "q-third.png"} <= sources
    assert sources.isdisjoint({"004.png", "mirrored.png", "c-second.png"})
    of_slices = [{triple.source for triple in Dataset.open(place).triples()} for place in places]
    assert {"004.png", "mirrored.png", "c-second.png"} <= set().union(*of_slices)
    assert not any({"m-first.png", "c-second.png", "q-third.png"} <= one for one in of_slices)


def merging(places: list[Path], out: Path, last: int) -> int:
    """Merge slices, and kill this process before its nth file is written."""
    write, count = storage.write, iter(range(10**6))

    def failing(path: Path, data: bytes) -> None:
        if next(count) == last:
            os.kill(os.getpid(), signal.SIGKILL)
        write(path, data)

    storage.write = failing
    merge(places, out)
    return 0


@pytest.mark.parametrize("last", [4, 15])
def test_a_killed_merge_is_completed_by_the_next(photos: Path, tmp_path: Path, last: int) -> None:
    """So is a slice's build that a limit cut short."""
    build(photos, tmp_path / "whole")
    build(photos, tmp_path / "slice-1", shard="1/2", limit=5)
    places = slices(photos, tmp_path, 2)

    killed = forks.run(merging, places, tmp_path / "out", last)
    merge(places, tmp_path / "out")

    assert killed.returncode == -signal.SIGKILL
    assert built(tmp_path / "out") == built(tmp_path / "whole")


def test_added_and_renamed_photos_are_merged_like_those_of_one_build(photos: Path, tmp_path: Path) -> None:
    """All slices are built again; a triple whose photo is in another slice now stays behind and does no harm."""
    folder = tmp_path / "photos"
    shutil.copytree(photos, folder)
    places = slices(folder, tmp_path, 2)
    (folder / "001.png").rename(folder / "x001.png")
    (folder / "003.png").rename(folder / "x003.png")
    render(folder, 2, first=20)
    slices(folder, tmp_path, 2)
    build(folder, tmp_path / "whole")

    merge(places, tmp_path / "out")

    assert built(tmp_path / "out") == built(tmp_path / "whole")


def test_a_persons_work_in_a_slice_is_kept(photos: Path, tmp_path: Path) -> None:
    """A prompt and a decision of a person come along."""
    places = slices(photos, tmp_path, 2)
    triple = next(Dataset.open(places[1]).triples())
    Dataset.open(places[1]).set_prompts({triple.key: "a person wrote this"})

    merge(places, tmp_path / "out")

    assert Dataset.open(tmp_path / "out")[triple.key].text == "a person wrote this"


def test_slices_that_do_not_belong_together_are_refused(photos: Path, tmp_path: Path) -> None:
    """One line says which slice is missing, passed twice, unfinished, of another build, or built otherwise."""
    one, two, three = slices(photos, tmp_path, 3)
    other, foreign, coarse = tmp_path / "other", tmp_path / "foreign", tmp_path / "coarse"
    build(photos, other, shard="2/4")
    build(photos, coarse, shard="2/3", min_size=88)
    build(photos, foreign)
    averaged, limited, stopped = tmp_path / "averaged", tmp_path / "limited", tmp_path / "stopped"
    build(photos, averaged, shard="2/3", flip_average=True)
    build(photos, limited, shard="2/3", limit=5)
    (stopped / ".segkit").mkdir(parents=True)
    shutil.copytree(two, tmp_path / "twin")
    unfinished = shutil.copytree(two, tmp_path / "unfinished")
    (unfinished / ".segkit/slice/photos.jsonl").unlink()
    changed = shutil.copytree(photos, tmp_path / "photos")
    render(changed, 1, first=30)
    stale = tmp_path / "stale"
    build(changed, stale, shard="2/3")

    for places, line in (
        ([three, one], "1 slice missing: 2/3"),
        ([one, two, three, tmp_path / "twin"], "Slice 2/3 is passed twice"),
        ([one, two, two, three], "Slice 2/3 is passed twice"),
        ([one, other, three], "of different builds"),
        ([one, coarse, three], "with --min-size 80, .* with --min-size 88"),
        ([one, averaged, three], "without --flip-average, .* with --flip-average"),
        ([one, limited, three], "slice 2/3, is not finished. Run its build-dataset again, without a limit"),
        ([one, stopped, three], "stopped is not finished: its build has stored no photo yet"),
        ([one, tmp_path / "nowhere", three], "nowhere does not exist"),
        ([one, unfinished, three], "slice 2/3, is not finished. Run its build-dataset again"),
        ([one, stale, three], "Run the builds of all slices again"),
        ([one, two, three, foreign], "is no slice of a build"),
    ):
        with pytest.raises(SegkitError, match=line):
            merge(places, tmp_path / "out")
    with pytest.raises(SegkitError, match="is one of the slices"):
        merge([one, two, three], two)
    with pytest.raises(SegkitError, match="size=64 does not apply to slices"):
        merge([one, two, three], tmp_path / "out", size=64)
    with pytest.raises(SegkitError, match="is slice 1/3 of a build, not slice 1/2"):
        build(photos, one, shard="1/2")
    with pytest.raises(SegkitError, match="is slice 1/3 of a build, not all of it"):
        build(photos, one)
    with pytest.raises(SegkitError, match="is no slice of a build, not slice 1/3"):
        build(photos, foreign, shard="1/3")
    assert not (tmp_path / "out").exists()


def test_the_command_line_builds_and_merges_slices(segkit: Segkit, photos: Path, tmp_path: Path) -> None:
    """With the toy segmenter, one photo at a time; a slice is recorded, and a merged dataset is none."""
    few = tmp_path / "photos"
    few.mkdir()
    for name in ("000", "001", "002", "0-copy", "004", "larger", "tiny"):
        shutil.copy(photos / f"{name}.png", few)
    options = ["--segmenter", "toy", "--no-caption", "--size", 96, "--min-size", 80, "--batch-size", 1]
    outs = [tmp_path / "one", tmp_path / "two", tmp_path / "three"]
    segkit("build-dataset", few, "-o", tmp_path / "whole", *options)
    for place, out in enumerate(outs, 1):
        result = segkit("build-dataset", few, "-o", out, *options, "--shard", f"{place}/3", "--json")
        assert result.code == 0, result.err

    missing = segkit("import", outs[0], outs[2], "-o", tmp_path / "out")
    planned = segkit("import", *outs, "-o", tmp_path / "out", "--dry-run", "--json")
    merged = segkit("import", *outs, "-o", tmp_path / "out", "--json")
    wrong = segkit("build-dataset", few, "-o", tmp_path / "out", *options, "--shard", "3/2")

    assert (missing.code, "1 slice missing: 2/3" in missing.err) == (2, True)
    assert json.loads(planned.out)["imported"] == json.loads(merged.out)["imported"] == 4
    assert built(tmp_path / "out") == built(tmp_path / "whole")
    assert "the number of a slice, from 1, and how many there are, such as 2/8" in wrong.err
    assert [Dataset.open(out).info.settings.get("shard") for out in outs] == ["1/3", "2/3", "3/3"]
