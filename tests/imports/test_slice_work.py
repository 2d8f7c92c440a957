"""What persons do in slices survives near-duplicates and later merges, or is named as a conflict."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segkit.dataset import Dataset, remove
from segkit.errors import SegkitError
from segkit.imports import request
from segkit.imports.outcome import Outcome
from segkit.imports.settings import ImportSettings
from segkit.maps.strokes import Stroke
from tests.dataset.test_dataset import render
from tests.imports.test_slices import build, built, merge, slices


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three photos, and a larger mirrored copy of the first one in the other of two slices."""
    folder = render(tmp_path / "photos", 3)
    with Image.open(folder / "000.png") as image:
        larger = image.resize((image.width * 2, image.height * 2))
    larger.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(folder / "twin.png")
    return folder


def merged(places: list[Path], out: Path) -> Outcome:
    """Merge slices, and return what became of them."""
    return request.run(request.Request(places), out, ImportSettings())


def of(places: list[Path], source: str) -> tuple[Dataset, str]:
    """Return the slice that holds a photo, and the key of its triple."""
    datasets = map(Dataset.open, places)
    return next((one, triple.key) for one in datasets for triple in one.triples() if triple.source == source)


@pytest.mark.parametrize("does", ["prompt", "removal"])
def test_a_photo_that_a_person_worked_on_wins_over_a_larger_near_duplicate(
    photos: Path, tmp_path: Path, does: str
) -> None:
    """So a prompt is not lost, and a picture that was removed does not come back as its copy."""
    places = slices(photos, tmp_path, 2)
    dataset, key = of(places, "000.png")
    if does == "prompt":
        dataset.set_prompts({key: "a person wrote this"})
    else:
        remove.remove(dataset, [key], None, delete_files=True)

    outcome = merged(places, tmp_path / "out")

    out = Dataset.open(tmp_path / "out")
    assert [(one.source, one.reason) for one in out.rejections()] == [("twin.png", "near-duplicate")]
    assert (outcome.imported, outcome.left_out, outcome.conflicts) == (3, int(does == "removal"), [])
    if does == "prompt":
        assert out[key].text == "a person wrote this"
    else:
        assert {triple.source for triple in out} == {"001.png", "002.png"}
        assert out.get([key])[0].review == "rejected"
    assert not [problem for problem in out.check() if problem.severity == "error"]


def test_work_on_both_of_two_near_duplicates_is_a_conflict(photos: Path, tmp_path: Path) -> None:
    """The better one stays, and the other is named."""
    places = slices(photos, tmp_path, 2)
    for name in ("000.png", "twin.png"):
        dataset, key = of(places, name)
        dataset.set_prompts({key: f"a prompt of {name}"})

    [conflict] = merged(places, tmp_path / "out").conflicts

    assert (conflict.source, conflict.what) == ("000.png", "triple")
    assert "a person worked on it, and it was left out: looks like" in conflict.reason


def test_later_work_in_slices_is_merged_and_conflicts_are_listed(photos: Path, tmp_path: Path) -> None:
    """Prompts, decisions, splits, columns and maps come into the dataset at the next merge; a third changes nothing."""
    places = slices(photos, tmp_path, 2, split="")
    merge(places, tmp_path / "out")
    (first, one), (second, two), (third, three) = (of(places, name) for name in ("001.png", "002.png", "twin.png"))
    first.set_prompts({one: "a person wrote this"})
    second.relabel(two, [Stroke(11, ((0, 50),))])
    with third.writing():
        triple = third.get([three])[0]
        third.commit([triple.edited(review="accepted", split="val", extra='{"mood": "calm"}')])

    again = merged(places, tmp_path / "out")
    files = built(tmp_path / "out")
    once_more = merged(places, tmp_path / "out")

    out = Dataset.open(tmp_path / "out")
    assert out[one].text == "a person wrote this"
    assert np.array_equal(out[two].labels, second.get([two])[0].labels)
    assert out[two].map_by_person
    assert (out[three].review, out[three].split, out[three].extra) == ("accepted", "val", '{"mood": "calm"}')
    assert (again.merged, again.unchanged, again.conflicts) == (3, 0, [])
    assert (once_more.merged, once_more.unchanged) == (0, 3)
    assert built(tmp_path / "out") == files

    out.set_prompts({one: "somebody wrote this here"})
    [conflict] = merged(places, tmp_path / "out").conflicts
    assert "both written by a person" in conflict.reason


@pytest.mark.parametrize("moment", ["before the first merge", "after it"])
@pytest.mark.parametrize("delete_files", [False, True])
def test_a_removal_undone_in_a_slice_is_undone_by_the_next_merge(
    photos: Path, tmp_path: Path, moment: str, delete_files: bool
) -> None:
    """Whether it came with the photo or later, with the files that were deleted; a third merge changes nothing."""
    places, out = slices(photos, tmp_path, 2), tmp_path / "out"
    dataset, key = of(places, "001.png")
    whole = {name: data for name, data in built(dataset.folder).items() if key in name}
    if moment == "after it":
        merged(places, out)
    remove.remove(dataset, [key], None, delete_files=delete_files)
    merged(places, out)
    assert Dataset.open(out).get([key])[0].review == "rejected"

    remove.restore(dataset, [key], None)
    if delete_files:
        build(photos, dataset.folder, shard=dataset.info.settings["shard"])
    outcome = merged(places, out)
    files = built(out)
    once_more = merged(places, out)

    assert "Removals undone in slices, and here: 1 (001.png)." in outcome.notes
    assert Dataset.open(out)[key].review == "open"
    assert {name: files[name] for name in whole} == whole
    assert built(out) == files
    assert not any("undone" in note for note in once_more.notes)


def test_a_removal_in_the_dataset_itself_is_kept(photos: Path, tmp_path: Path) -> None:
    """Somebody removed the photo here, too, whatever becomes of its removal in the slice."""
    places, out = slices(photos, tmp_path, 2), tmp_path / "out"
    (first, one), (second, two) = of(places, "001.png"), of(places, "002.png")
    remove.remove(first, [one], None)
    merged(places, out)
    for decide in (remove.remove, remove.restore, remove.remove):
        decide(Dataset.open(out), [one, two], None)
    remove.remove(second, [two], None)
    merged(places, out)

    remove.restore(first, [one], None)
    remove.restore(second, [two], None)
    merged(places, out)

    assert [triple.review for triple in Dataset.open(out).get([one, two])] == ["rejected", "rejected"]


def test_a_painted_map_is_refused_before_a_dataset_is_created(photos: Path, tmp_path: Path) -> None:
    """The advice does not lose the painting: the slice's build takes it over."""
    places = slices(photos, tmp_path, 2)
    dataset, key = of(places, "001.png")
    path = dataset.folder / dataset[key].conditioning_image_file_name
    with Image.open(path) as image:
        image.convert("RGB").transpose(Image.Transpose.FLIP_TOP_BOTTOM).save(path)

    with pytest.raises(SegkitError, match="Run the slice's build-dataset again: it takes over"):
        merge(places, tmp_path / "out")
    assert not (tmp_path / "out").exists()

    shard = dataset.info.settings["shard"]
    build(photos, dataset.folder, shard=shard)
    merge(places, tmp_path / "out")
    assert Dataset.open(tmp_path / "out")[key].map_by_person
