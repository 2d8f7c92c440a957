"""Photos become triples with their pixels; nothing is written."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from segkit.build import annotate
from segkit.build.arrival import Candidate
from segkit.build.settings import BuildSettings
from segkit.build.tools import Drafter, Networks
from segkit.dataset import Dataset
from segkit.dataset.info import Info
from segkit.dataset.prompts import Style
from segkit.dataset.triple import UNDRAWN
from segkit.models.segment import Segmentation
from segkit.palette import Palette
from segkit.photos import Decoded, fit
from segkit.toy import world
from tests.commands.test_build_dataset import build, lines
from tests.conftest import Models, Segkit
from tests.dataset.test_dataset import brightness
from tests.reports.test_findings import triple

ADE = Palette.load("ade20k")


def test_png_photos_contain_exactly_the_fitted_pixels(
    segkit: Segkit, six_photos: Path, models: Models, tmp_path: Path
) -> None:
    """--photo-format png stores the segmenter's input losslessly."""
    from segkit import photos

    out = tmp_path / "out"
    build(segkit, six_photos, out, "--segmenter", models.oneformer, "--no-caption", "--photo-format", "png")

    line = lines(out)[0]
    fitted = photos.open_photo((six_photos / line["source"]).read_bytes(), photos.Limits()).image
    with Image.open(out / line["file_name"]) as stored:
        assert stored.tobytes() == fitted.tobytes()


def test_pixels_of_low_confidence_become_unlabelled(
    segkit: Segkit, six_photos: Path, models: Models, tmp_path: Path
) -> None:
    """--min-confidence excludes pixels of low confidence from the classes' shares."""
    plain, strict = tmp_path / "plain", tmp_path / "strict"
    options = ("--segmenter", models.oneformer, "--no-caption")
    build(segkit, six_photos, plain, *options)
    build(segkit, six_photos, strict, *options, "--min-confidence", 0.999)

    def labelled(dataset: Path) -> float:
        return sum(float(share["share"]) for line in lines(dataset) for share in line["classes"])

    assert labelled(strict) < labelled(plain)
    assert labelled(plain) == pytest.approx(6, abs=0.01)


def candidates(*sizes: tuple[int, int]) -> list[Candidate]:
    """Return new photos of these sizes."""
    return [
        Candidate(
            f"{place}.jpg",
            f"{place:016x}" + "0" * 48,
            fit(Decoded(world.scene(place, size).photo), 96),
            place,
            f"{place:016x}",
        )
        for place, size in enumerate(sizes)
    ]


def drafter() -> Drafter:
    """Return a captioner without a network."""
    return Drafter(lambda photos: [f"{photo.width} wide" for photo in photos], len, "widths", "2")


def test_photos_of_one_size_share_a_batch() -> None:
    """Batches hold equal sizes up to the limit, in order; every photo is in exactly one."""
    batches = []

    def segment(photos: Sequence[Image.Image]) -> list[Segmentation]:
        batches.append([photo.size for photo in photos])
        return brightness(photos)

    photos = candidates((128, 96), (96, 128), (128, 96), (128, 96))
    finished = list(annotate.finish(photos, Networks(ADE, segment, batch=2), BuildSettings(size=96), Style()))

    assert batches == [[(128, 96), (128, 96)], [(128, 96)], [(96, 128)]]
    assert [[one.triple.source for one in batch] for batch in finished] == [["0.jpg", "2.jpg"], ["3.jpg"], ["1.jpg"]]


def test_a_triple_records_its_photo(tmp_path: Path) -> None:
    """Names follow the key and the format, classes the labels; without a captioner the prompt is empty."""
    settings = BuildSettings(size=96, photo_format="png")

    [[finished]] = annotate.finish(candidates((128, 96)), Networks(ADE, brightness), settings, Style())

    record = finished.triple
    assert record.file_name == f"images/00/{0:016x}.png"
    assert (record.width, record.height, record.phash, record.split) == (128, 96, "0" * 16, "train")
    assert record.drawn == UNDRAWN
    assert (record.text, record.tokens, record.by_person) == ("", 0, False)
    shares = np.bincount(finished.labels.ravel(), minlength=256) / finished.labels.size
    assert {share.name: share.share for share in record.classes} == pytest.approx(
        {ADE[index].name: shares[index] for index in range(150) if shares[index]}, abs=1e-3
    )
    assert [share.share for share in record.classes] == sorted((s.share for s in record.classes), reverse=True)


def test_captions_become_drafts() -> None:
    """The prompt has the style of the settings, and names its author."""
    settings = BuildSettings(size=96, prefix="photo of", suffix=", 35mm")

    networks = Networks(ADE, brightness, drafter())
    [[finished]] = annotate.finish(candidates((128, 96)), networks, settings, settings.style(None))

    record = finished.triple
    assert record.text == "photo of 128 wide, 35mm"
    assert record.tokens == len(record.text)
    assert (record.prompt.by, record.prompt.model, record.prompt.revision) == ("model", "widths", "2")
    assert record.prompt.caption == "128 wide"
    assert not record.by_person


def test_a_long_draft_is_cut_and_flagged() -> None:
    """The digest is that of the text as it is stored, so that a later edit is noticed."""
    drafted = annotate.with_draft(triple("a" * 16), "a bed and a chair " * 9, drafter(), Style())

    assert drafted.tokens == len(drafted.text) <= 77
    assert "prompt-cut" in drafted.problems
    assert not drafted.by_person


def test_pictures_are_encoded_by_their_name() -> None:
    """A PNG has exactly the pixels, a JPEG is close to them; the map holds the labels as indices."""
    for photo_format in ("png", "jpg"):
        settings = BuildSettings(size=96, photo_format=photo_format)
        [[finished]] = annotate.finish(candidates((128, 96)), Networks(ADE, brightness), settings, Style())

        with Image.open(io.BytesIO(finished.photo_bytes())) as photo:
            assert photo.format == {"png": "PNG", "jpg": "JPEG"}[photo_format]
            difference = np.abs(np.asarray(photo, int) - np.asarray(finished.photo, int))
            assert not photo.getexif()
        assert difference.mean() <= (0 if photo_format == "png" else 3)
        with Image.open(io.BytesIO(finished.map_bytes())) as control_map:
            assert (np.asarray(control_map) == finished.labels).all()


def test_models_are_recorded_by_role(tmp_path: Path) -> None:
    """Other roles stay, and equal models do not rewrite the file."""
    dataset = Dataset.create(tmp_path / "d", Info(ADE, {"segmenter": {"name": "m", "revision": "1"}}, {}))
    path = dataset.hidden / "dataset.toml"

    with dataset.writing():
        annotate.record_models(dataset, drafter().identities)
        written = path.stat().st_ino
        annotate.record_models(dataset, drafter().identities)

    assert path.stat().st_ino == written
    models = Dataset.open(tmp_path / "d").info.models
    assert models["segmenter"] == {"name": "m", "revision": "1"}
    assert models["captioner"] == {"name": "widths", "revision": "2"}
    assert models["tokenizer"] == {"name": "estimate"}
