"""Networks of a build: loaded with their identities, and asked in batches."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

from segkit.build import tools
from segkit.build.settings import BuildSettings, CaptionSettings
from segkit.build.tools import Drafter, Networks
from segkit.errors import ModelError, UnknownModelError
from segkit.models.blend import BlendedSegmenter
from segkit.models.segment import NeuralSegmenter
from segkit.palette import Palette
from segkit.toy import world
from tests.conftest import Models, Segkit
from tests.dataset.test_dataset import brightness

ADE = Palette.load("ade20k")
PHOTOS = [Image.new("RGB", (64, 64), (place, place, place)) for place in range(0, 250, 50)]


def test_networks_are_asked_in_batches() -> None:
    """Five photos in batches of two are three calls, and the results are in the order of the photos."""
    sizes: list[int] = []

    def caption(photos: Sequence[Image.Image]) -> list[str]:
        sizes.append(len(photos))
        return [str(photo.getpixel((0, 0))) for photo in photos]

    texts = Drafter(caption, len, batch=2)(PHOTOS)
    segmentations = Networks(ADE, brightness, batch=2)(PHOTOS)

    assert sizes == [2, 2, 1]
    assert texts == [str((place, place, place)) for place in range(0, 250, 50)]
    assert [int(one.labels[0, 0]) for one in segmentations] == [place // 32 for place in range(0, 250, 50)]


def test_identities_are_listed_by_role() -> None:
    """Without a captioner only the segmenter is recorded."""
    drafting = Drafter(lambda photos: [], len, "blip", "2", "clip")

    alone = Networks(ADE, brightness, None, "oneformer", "1").identities
    both = Networks(ADE, brightness, drafting, "oneformer", "1").identities

    exact = Networks(ADE, brightness, None, "oneformer", "1", weights="ab", precision="fp32").identities

    assert alone == {"segmenter": {"name": "oneformer", "revision": "1"}}
    assert exact["segmenter"] == alone["segmenter"] | {"weights": "ab", "precision": "fp32"}
    assert both == alone | {"captioner": {"name": "blip", "revision": "2"}, "tokenizer": {"name": "clip"}}


def test_the_toy_networks_are_loaded(models: Models) -> None:
    """They have names and revisions, fit the palette, and small networks are batched on a CPU."""
    settings = BuildSettings(segmenter="toy", captioner="toy", tokenizer=str(models.clip), caption_tokens=6)

    networks = tools.load(settings)

    assert networks.drafting
    assert (networks.palette.hash, networks.batch, networks.drafting.batch) == (ADE.hash, 8, 8)
    assert networks.model
    assert networks.revision != networks.drafting.revision
    assert networks.drafting.count("a bed") == 6  # every letter is a token, start and end included
    assert networks.drafting.tokenizer != "estimate"
    assert tools.load_drafting(settings).identities == networks.drafting.identities


def test_without_captions_no_captioner_is_needed() -> None:
    """A missing captioner is no error if prompts stay empty."""
    settings = BuildSettings(segmenter="toy", captioner="./nowhere", caption=False, batch_size="3")

    networks = tools.load(settings)

    assert (networks.drafting, networks.batch) == (None, 3)


def test_an_ensemble_is_loaded_and_identified() -> None:
    """All its networks draw a map together, and are recorded; one that is missing is reported."""
    settings = BuildSettings(segmenter="toy", ensemble="toy-judge", caption=False, tiles=2, flip_average=True)

    networks = tools.load(settings)

    assert isinstance(networks.segment, BlendedSegmenter)
    toy = tools.load(BuildSettings(segmenter="toy", caption=False))
    assert isinstance(toy.segment, NeuralSegmenter)
    parts = networks.identities["segmenter"]
    assert parts["name"] == "toy + toy-judge"
    assert parts["weights"].split(" + ")[0] == toy.weights
    assert parts["revision"].split(" + ")[0] == toy.revision
    (segmentation,) = networks([world.scene(1, (320, 240)).photo])
    assert segmentation.labels.shape == (240, 320)
    with pytest.raises(ModelError, match=r"ensemble \./nowhere"):
        tools.load(BuildSettings(segmenter="toy", ensemble="./nowhere"))


def test_a_missing_network_is_reported_by_role(tmp_path: Path) -> None:
    """The segmenter is looked for first, before a captioner is loaded."""
    missing = str(tmp_path / "nowhere")

    with pytest.raises(ModelError, match="segmenter"):
        tools.load(BuildSettings(segmenter=missing, captioner=missing))
    with pytest.raises(ModelError, match="captioner"):
        tools.load_drafting(CaptionSettings(captioner=missing))


@pytest.mark.parametrize(
    "option",
    [
        ("--captioner", "./none", "captioner ./none: no such folder."),
        ("--captioner", "blip-bse", "captioner blip-bse: no such folder. Expected a folder, a hub id or one of: toy, "),
        ("--tokenizer", "none", "tokenizer none: no such folder."),
    ],
)
@pytest.mark.parametrize("more", [[], ["--dry-run"]])
def test_a_missing_network_is_refused_although_nothing_needs_it(
    segkit: Segkit, rooms: Path, six_photos: Path, option: tuple[str, str, str], more: list[str]
) -> None:
    """A build without new photos, and drafting without missing prompts, load no network but notice a wrong name."""
    *words, message = option
    built = segkit("build-dataset", six_photos, "-o", rooms, "--keep-duplicates", *words, *more)
    captioned = segkit("caption", rooms, *words)

    assert (built.code, captioned.code) == (2, 2)
    assert message in built.err
    assert message in captioned.err


def test_a_recorded_network_that_moved_is_no_obstacle(tmp_path: Path) -> None:
    """Only the next new photo or prompt needs it."""
    settings = BuildSettings(captioner="./moved", tokenizer="moved")

    tools.require_known(settings, {"captioner": "./moved", "tokenizer": "moved"})
    tools.require_known(BuildSettings(captioner="./moved", caption=False), {})
    with pytest.raises(UnknownModelError, match=r"captioner \./moved"):
        tools.require_known(settings, {"captioner": "toy"})


def test_a_mistyped_segmenter_is_refused_by_a_dry_run_without_photos(segkit: Segkit, tmp_path: Path) -> None:
    """Also if all files are rejected, so that nothing would be segmented."""
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "notes.jpg").write_text("no picture")

    refused = segkit("build-dataset", tmp_path / "files", "--segmenter", "to", "--dry-run")

    assert (refused.code, "segmenter to: no such folder" in refused.err) == (2, True)
