"""The public API: a session from photos to pictures, as docs/python.md shows it, and what it leaves alone."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import segkit
from segkit.dataset import Dataset
from segkit.dataset.collection import Triples
from segkit.toy import world
from segkit.toy.world import damage


@pytest.fixture(scope="module")
def rooms(six_photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """A dataset of six triples, two of them held out. Do not change it."""
    folder = tmp_path_factory.mktemp("api") / "rooms"
    return segkit.build_dataset(
        str(six_photos), folder, segmenter="toy", captioner="toy", split="val=0.3", size=64, min_size=64
    )


def test_a_session_from_photos_to_pictures(rooms: Dataset, tmp_path: Path) -> None:
    """Build, look, check, train, generate, evaluate, export, inspect: each result is a value for the next call."""
    assert rooms.check() == segkit.check(rooms).problems == []
    triple = rooms[0]
    assert rooms[triple.key].labels.shape == (triple.height, triple.width)
    assert len(rooms.to_pandas()) == len(rooms) == 6

    run = segkit.train(
        rooms, tmp_path / "run", base="toy", controlnet="fresh", steps=2, batch_size=1, resolution=64, preview_every=0
    )
    pictures = segkit.generate(rooms.val, controlnet=run, seed=3, steps=2, resolution=64, output=tmp_path / "pictures")
    evaluation = segkit.evaluate(
        run, rooms, judge="toy", steps=2, resolution=64, limit=1, output=tmp_path / "evaluation"
    )
    written = segkit.export(run, "pth", tmp_path / "rooms.pth")

    assert (run.steps, Path(run)) == (2, tmp_path / "run")
    assert [picture.image.mode for picture in pictures] == ["RGB"] * len(rooms.val)
    assert 0 <= evaluation.miou.low <= evaluation.miou.value <= evaluation.miou.high <= 1
    assert [score.name for score in evaluation.results.scores] == ["run", "base alone", "photos"]
    assert segkit.inspect(written).is_sound


def test_palettes_and_maps(tmp_path: Path) -> None:
    """A table's findings, a foreign map's labels, from a file or a picture."""
    truth = world.scene(7, (128, 128)).labels
    foreign = damage.by("bgr", truth)
    foreign.save(tmp_path / "foreign.png")

    assert [swatch.name for swatch in segkit.Palette.load("ade20k")][:2] == ["wall", "building"]
    assert segkit.check_palette().findings == segkit.check_palette("ade20k").findings
    assert segkit.check_palette(tmp_path / "foreign.png").maps[0].cause == "bgr"
    assert len(segkit.check_palette(suggest=2).suggestions) == 2
    assert np.array_equal(segkit.snap(tmp_path / "foreign.png").labels, truth)
    assert np.array_equal(segkit.snap(foreign).labels, truth)


def test_drafts_are_made_and_redone(six_photos: Path, tmp_path: Path) -> None:
    """A dataset without prompts gets them; a second call has nothing to do unless drafts are to be redone."""
    bare = segkit.build_dataset(six_photos, tmp_path / "bare", segmenter="toy", caption=False, size=64, min_size=64)
    assert [triple.text for triple in bare] == [""] * 6

    numbers = [segkit.caption(bare, captioner="toy", redo=redo) for redo in (False, False, True)]

    assert numbers == [6, 0, 6]
    assert all(triple.text for triple in bare)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: segkit.build_dataset("photos", "out", segmentor="toy"), "unknown setting 'segmentor'. Did you mean"),
        (lambda: segkit.build_dataset("photos", "out", size=100), "size=100: expected a multiple of 8"),
        (lambda: segkit.train("rooms", "run", steps=0), "steps"),
        (lambda: segkit.generate("maps", steps="many"), "steps"),
        (lambda: segkit.check("nowhere"), "nowhere is not a segkit dataset: no such folder"),
        (lambda: segkit.check_palette("nowhere.csv"), "nowhere.csv"),
        (lambda: segkit.build_dataset(None, "out"), "photos is a NoneType; expected a path"),  # type: ignore[arg-type]
        (lambda: segkit.train(Triples([]), "run"), "dataset is a Triples; expected a path. Pass the whole"),  # type: ignore[arg-type]
        (lambda: segkit.export("run", "onnx"), "to='onnx': expected ldm or diffusers or pth or webdataset or"),  # type: ignore[call-overload]
        (lambda: segkit.snap("nowhere.png"), "nowhere.png "),
        (lambda: segkit.snap("map.png", unsure="x"), "unsure='x': expected nearest or unlabelled."),  # type: ignore[arg-type]
        (lambda: segkit.snap("map.png", cause="y"), "cause='y': expected '' or exact or"),  # type: ignore[arg-type]
        (lambda: segkit.check_palette(suggest=-1), "suggest=-1: expected at least 0, at most 100."),
        (lambda: segkit.check_palette(against="coco"), "against='coco': expected a list of texts."),
        (lambda: segkit.check_palette(3), "target is a int; expected a path."),  # type: ignore[arg-type]
        (lambda: segkit.generate("maps", output=None), "output is a NoneType; expected a path."),  # type: ignore[arg-type]
    ],
)
def test_mistakes_are_segkit_errors_about_values(call: object, message: str) -> None:
    """One base class, one line, no flags."""
    with pytest.raises(segkit.SegkitError) as error:
        call()  # type: ignore[operator]

    assert message in str(error.value)
    assert "\n" not in str(error.value)


SESSION = """
THEIRS = "torch", "scipy", "the matrix subclass", "ssl_"  # filters that these libraries add when they are imported
import logging, os, sys, warnings
import segkit
import transformers.utils.logging, diffusers.utils.logging
levels = transformers.utils.logging.get_verbosity(), diffusers.utils.logging.get_verbosity()
before = dict(os.environ), list(warnings.filters), logging.getLogger().level
photos, place = sys.argv[1:]
rooms = segkit.build_dataset(photos, place + "/rooms", segmenter="toy", captioner="toy", size=64, min_size=64)
segkit.check(rooms)
segkit.check_palette(rooms.folder)
run = segkit.train(rooms, place + "/run", base="toy", controlnet="fresh", steps=1, batch_size=1, resolution=64,
                   preview_every=0, device="cpu")
segkit.generate(rooms[:1], controlnet=run, steps=1, resolution=64, output=place + "/pictures")
environment, filters, level = before
assert (dict(os.environ), logging.getLogger().level) == (environment, level)
ours = [entry for entry in warnings.filters if entry not in filters and not any(name in str(entry) for name in THEIRS)]
assert not ours, ours
assert (transformers.utils.logging.get_verbosity(), diffusers.utils.logging.get_verbosity()) == levels
"""


def test_the_callers_process_stays_as_it_was(six_photos: Path, tmp_path: Path) -> None:
    """Nothing is printed; environment variables, warnings filters and log levels do not change."""
    command = [sys.executable, "-c", SESSION, str(six_photos), str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)

    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


def test_every_name_of_the_api_is_there() -> None:
    """`__all__`, `dir()` and attribute access agree; other names do not exist."""
    assert all(hasattr(segkit, name) for name in segkit.__all__)
    assert set(segkit.__all__) <= set(dir(segkit))
    with pytest.raises(AttributeError, match="no attribute 'biuld_dataset'"):
        _ = segkit.biuld_dataset
