"""segkit build-dataset, end to end through the command line, with small networks of the real architectures."""

import json
import shutil
from pathlib import Path
from typing import Any, cast

import pytest
from PIL import Image

from segkit.dataset import Dataset
from segkit.palette import Palette, shipped_folder
from tests.conftest import Models, Segkit
from tests.dataset.test_checks import swap_colors


def contents(folder: Path) -> dict[str, bytes]:
    """Return every file of a dataset except the lock."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != "lock")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_photos_become_checked_triples(
    segkit: Segkit, six_photos: Path, build_options: list[str], tmp_path: Path
) -> None:
    """A folder of photos becomes a dataset in which segkit check finds no errors."""
    out = tmp_path / "out"

    built = segkit("build-dataset", six_photos, "-o", out, *build_options, "--json")
    checked = segkit("check", out, "--json")

    outcome = json.loads(built.out)
    assert (built.code, outcome["found"], outcome["made"]) == (0, 6, 6)
    assert checked.code == 0
    assert json.loads(checked.out)["triples"] == 6
    assert [problem for problem in json.loads(checked.out)["problems"] if problem["severity"] == "error"] == []


def test_running_again_changes_nothing(
    segkit: Segkit, six_photos: Path, build_options: list[str], tmp_path: Path
) -> None:
    """Running the same command again processes nothing and leaves every file unchanged, byte for byte."""
    out = tmp_path / "out"
    segkit("build-dataset", six_photos, "-o", out, *build_options)
    before = contents(out)

    again = segkit("build-dataset", six_photos, "-o", out, *build_options, "--json")

    assert json.loads(again.out)["kept"] == 6
    assert contents(out) == before


def build(segkit: Segkit, photos: Path, out: Path, *options: object) -> dict[str, Any]:
    """Run build-dataset with --json and return its object."""
    result = segkit("build-dataset", photos, "-o", out, *options, "--json")
    assert result.code == 0, result.err
    return cast("dict[str, Any]", json.loads(result.out))


def lines(dataset: Path) -> list[dict[str, Any]]:
    """Return the manifest's records."""
    return [json.loads(line) for line in (dataset / "metadata.jsonl").read_text().splitlines()]


def test_only_added_photos_are_processed(
    segkit: Segkit, six_photos: Path, build_options: list[str], tmp_path: Path
) -> None:
    """Photos added later give the same dataset, byte for byte, as a build with all photos from the start."""
    some, out, at_once = tmp_path / "photos", tmp_path / "out", tmp_path / "at once"
    shutil.copytree(six_photos, some, ignore=shutil.ignore_patterns("5.jpg"))
    build(segkit, some, out, *build_options)
    shutil.copy(six_photos / "5.jpg", some)

    added = build(segkit, some, out, *build_options)

    assert (added["made"], added["kept"]) == (1, 5)
    build(segkit, six_photos, at_once, *build_options)
    assert contents(out) == contents(at_once)


def test_moving_and_renaming_repeats_no_work(
    segkit: Segkit, six_photos: Path, build_options: list[str], tmp_path: Path
) -> None:
    """Keys depend on the photos' bytes, so neither the dataset's location nor a photo's name matters."""
    photos, out, moved = tmp_path / "photos", tmp_path / "out", tmp_path / "moved"
    shutil.copytree(six_photos, photos)
    build(segkit, photos, out, *build_options)
    out.rename(moved)
    (photos / "0.jpg").rename(photos / "renamed.jpg")

    again = build(segkit, photos, moved, *build_options)

    assert (again["made"], again["kept"]) == (0, 6)


def test_a_copy_that_sorts_first_does_not_displace_the_photo(
    segkit: Segkit, six_photos: Path, models: Models, tmp_path: Path
) -> None:
    """The copy is rejected as identical, the triple keeps its source, and another run changes nothing."""
    photos, out = tmp_path / "photos", tmp_path / "out"
    shutil.copytree(six_photos, photos)
    options = ("--segmenter", models.oneformer, "--no-caption")
    build(segkit, photos, out, *options)
    shutil.copy(photos / "3.jpg", photos / "0 copy of 3.jpg")

    added = build(segkit, photos, out, *options)
    before = contents(out)
    again = build(segkit, photos, out, *options)

    assert (added["kept"], added["rejected"]) == (6, {"identical": 1})
    assert (again["kept"], again["rejected"]) == (6, {"identical": 1})
    assert json.loads((out / ".segkit" / "rejected.jsonl").read_text())["source"] == "0 copy of 3.jpg"
    assert contents(out) == before


def test_limit_skips_the_rest_and_the_numbers_add_up(
    segkit: Segkit, six_photos: Path, build_options: list[str], tmp_path: Path
) -> None:
    """--limit 2 builds triples from the first two photos and counts the others as skipped."""
    outcome = build(segkit, six_photos, tmp_path / "out", *build_options, "--limit", 2)

    assert outcome["made"] + outcome["kept"] + sum(outcome["rejected"].values()) + outcome["skipped"]["limit"] == 6
    assert [line["source"] for line in lines(tmp_path / "out")] == ["0.jpg", "1.jpg"]


def test_dry_run_writes_nothing_and_counts_as_a_build_would(
    segkit: Segkit, six_photos: Path, build_options: list[str], tmp_path: Path
) -> None:
    """--dry-run reports counts, sizes, time and disk space, and writes nothing."""
    out = tmp_path / "out"

    plan = build(segkit, six_photos, out, *build_options, "--dry-run")

    assert not out.exists()
    assert (plan["found"], plan["made"]) == (6, 6)
    assert plan["sizes"] == {"640 x 480": 2, "480 x 640": 2, "560 x 400": 2}
    assert plan["seconds"] > 0
    assert plan["megabytes"] > 0


def test_dry_run_without_weights_explains_the_missing_time(segkit: Segkit, six_photos: Path, tmp_path: Path) -> None:
    """Photos are counted even if the networks are missing."""
    plan = build(segkit, six_photos, tmp_path / "out", "--dry-run")

    assert plan["made"] == 6
    assert plan["seconds"] is None
    assert "segkit demo" in plan["reason"]


def test_dry_run_refuses_what_a_build_refuses(
    segkit: Segkit, six_photos: Path, build_options: list[str], tmp_path: Path
) -> None:
    """--dry-run reports a foreign folder, and settings that differ from the dataset's."""
    out, foreign = tmp_path / "out", tmp_path / "foreign"
    build(segkit, six_photos, out, *build_options, "--limit", 2)
    foreign.mkdir()
    (foreign / "mine.txt").touch()

    other_size = segkit("build-dataset", six_photos, "-o", out, *build_options, "--size", 256, "--dry-run")
    other_folder = segkit("build-dataset", six_photos, "-o", foreign, *build_options, "--dry-run")

    assert (other_size.code, other_folder.code) == (2, 2)


def test_missing_weights_are_an_error_with_instructions(segkit: Segkit, six_photos: Path, tmp_path: Path) -> None:
    """The error states how to download the default networks, and no folder is left behind."""
    result = segkit("build-dataset", six_photos, "-o", tmp_path / "out")

    assert result.code == 2
    assert "hf download shi-labs/oneformer_ade20k_swin_large" in result.err
    assert "segkit demo" in result.err
    assert len(result.err.splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [(["--size", "256"], "--size 512"), (["--photo-format", "png"], "--photo-format jpg")],
)
def test_settings_that_differ_from_the_dataset_are_refused(
    segkit: Segkit, six_photos: Path, build_options: list[str], tmp_path: Path, options: list[str], message: str
) -> None:
    """A second build must not mix sizes or formats; the error states the dataset's settings."""
    out = tmp_path / "out"
    build(segkit, six_photos, out, *build_options)
    before = contents(out)

    refused = segkit("build-dataset", six_photos, "-o", out, *build_options, *options)

    assert refused.code == 2
    assert message in refused.err
    assert contents(out) == before


def test_another_segmenter_is_refused(
    segkit: Segkit, six_photos: Path, models: Models, build_options: list[str], tmp_path: Path
) -> None:
    """New photos must be segmented by the network of the existing ones."""
    from segkit.models import hub
    from segkit.toy.learn import networks

    with hub.quiet():
        other = networks.write(tmp_path / "other", networks.oneformer(Palette.load("ade20k"), seed=1))
    out = tmp_path / "out"
    build(segkit, six_photos, out, *build_options, "--limit", 2)

    refused = segkit("build-dataset", six_photos, "-o", out, *build_options, "--segmenter", other)

    assert refused.code == 2
    assert "Pass the same --segmenter" in refused.err


def test_a_dataset_with_an_edited_palette_is_refused(
    segkit: Segkit, six_photos: Path, models: Models, tmp_path: Path
) -> None:
    """Colours swapped in dataset.toml, including the hash, are detected before a map is painted."""
    out = tmp_path / "out"
    options = ("--segmenter", models.oneformer, "--no-caption")
    build(segkit, six_photos, out, *options, "--limit", 2)
    swap_colors(out, [])
    before = contents(out)

    refused = segkit("build-dataset", six_photos, "-o", out, *options)

    assert refused.code == 2
    assert "another palette" in refused.err
    assert contents(out) == before


def test_prompts_follow_the_template(
    segkit: Segkit, six_photos: Path, build_options: list[str], tmp_path: Path
) -> None:
    """--prefix, --template with {classes} and --suffix apply to every prompt."""
    style = ["--prefix", "photo of", "--template", "{classes} seen as {caption}", "--suffix", ", 35mm"]
    build(segkit, six_photos, tmp_path / "out", *build_options, *style)

    for line in lines(tmp_path / "out"):
        assert line["text"].startswith(f"photo of {line['classes'][0]['name']}")
        assert line["text"].endswith(", 35mm") or "prompt-cut" in line["problems"]
        assert 0 < line["tokens"] <= 77


def test_no_caption_leaves_prompts_empty_and_needs_no_captioner(
    segkit: Segkit, six_photos: Path, models: Models, tmp_path: Path
) -> None:
    """--no-caption loads no captioner; segkit check warns about each missing prompt."""
    out = tmp_path / "out"
    build(segkit, six_photos, out, "--segmenter", models.oneformer, "--no-caption")

    checked = json.loads(segkit("check", out, "--json").out)

    assert {line["text"] for line in lines(out)} == {""}
    assert checked["counts"] == {"prompt-missing": 6}


def test_png_photos_hold_exactly_the_fitted_pixels(
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


def test_unsure_pixels_become_unlabelled(segkit: Segkit, six_photos: Path, models: Models, tmp_path: Path) -> None:
    """--min-confidence leaves uncertain pixels unlabelled, which lowers the class shares."""
    plain, strict = tmp_path / "plain", tmp_path / "strict"
    options = ("--segmenter", models.oneformer, "--no-caption")
    build(segkit, six_photos, plain, *options)
    build(segkit, six_photos, strict, *options, "--min-confidence", 0.999)

    def labelled(dataset: Path) -> float:
        return sum(float(share["share"]) for line in lines(dataset) for share in line["classes"])

    assert labelled(strict) < labelled(plain)
    assert labelled(plain) == pytest.approx(6, abs=0.01)


def test_coco_networks_use_the_coco_palette(segkit: Segkit, six_photos: Path, tmp_path: Path) -> None:
    """--protocol coco uses a COCO model, paints with COCO's colours and records the palette."""
    from segkit.models import hub
    from segkit.toy.learn import networks

    palette = Palette.load("coco_panoptic")
    with hub.quiet():
        model = networks.write(tmp_path / "model", networks.oneformer(palette))
    out = tmp_path / "out"
    build(segkit, six_photos, out, "--segmenter", model, "--no-caption", "--protocol", "coco")

    line = lines(out)[0]
    with Image.open(out / line["conditioning_image_file_name"]) as control_map:
        colors = {color for _, color in control_map.convert("RGB").getcolors() or []}
    assert colors <= {swatch.rgb for swatch in palette}
    assert segkit("check-palette", out).code == 0


def test_a_dataset_inside_the_photo_folder_is_not_searched(
    segkit: Segkit, six_photos: Path, models: Models, tmp_path: Path
) -> None:
    """With -o photos/out, a second build does not treat the dataset's own pictures as photos."""
    photos = tmp_path / "photos"
    shutil.copytree(six_photos, photos)
    options = ("--segmenter", models.oneformer, "--no-caption")
    build(segkit, photos, photos / "out", *options)

    again = build(segkit, photos, photos / "out", *options)

    assert (again["found"], again["kept"]) == (6, 6)


def test_the_default_output_is_beside_the_photos(
    segkit: Segkit, six_photos: Path, models: Models, tmp_path: Path
) -> None:
    """Without -o, the dataset of photos/ is photos-dataset/."""
    photos = tmp_path / "my photos"
    shutil.copytree(six_photos, photos)

    segkit("build-dataset", photos, "--segmenter", models.oneformer, "--no-caption")

    assert len(lines(tmp_path / "my photos-dataset")) == 6


def test_custom_classes_are_recorded(segkit: Segkit, six_photos: Path, tmp_path: Path) -> None:
    """With an extended --palette, the dataset records it, is checked against it and refuses any other palette."""
    mine, other, out = tmp_path / "mine.csv", tmp_path / "other.csv", tmp_path / "out"
    segkit("check-palette", "--extend", mine, "--add", "solar panel")
    segkit("check-palette", "--extend", other, "--add", "pergola")
    command = ("build-dataset", six_photos, "-o", out, "--segmenter", "toy", "--no-caption")

    made = segkit(*command, "--palette", mine)

    assert made.code == 0
    assert Dataset.open(out).info.palette.find("solar panel").index == 150
    assert segkit("check", out, "--palette", mine).code == 0
    wrong = segkit("check", out, "--palette", other)
    assert wrong.code == 1
    assert "palette is not that of other" in " ".join(wrong.out.split())
    assert segkit(*command, "--palette", mine).code == 0
    for again in (segkit(*command), segkit(*command, "--palette", other)):
        assert again.code == 2
        assert "Pass the same --palette" in again.err


def test_a_palette_that_clashes_is_refused(segkit: Segkit, six_photos: Path, tmp_path: Path) -> None:
    """The error names the clash and a free colour, and nothing is written."""
    (tmp_path / "mine.csv").write_text((shipped_folder() / "ade20k.csv").read_text() + "150,pergola,,180,121,120\n")

    done = segkit(
        "build-dataset", six_photos, "-o", tmp_path / "out", "--segmenter", "toy", "--palette", tmp_path / "mine.csv"
    )

    assert done.code == 2
    assert "building (1) and pergola (150) are 1.00 apart" in done.err
    assert "#76FE47" in done.err
    assert not (tmp_path / "out").exists()
