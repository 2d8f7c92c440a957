"""segkit build-dataset, end to end through the command line, with tiny networks of the real architectures."""

import json
import shutil
import signal
from pathlib import Path
from typing import Any, cast

import pytest
from PIL import Image

from segkit import interrupts
from segkit.dataset import Dataset
from segkit.palette import Palette, shipped_folder
from tests.conftest import Models, Segkit


def hashes(folder: Path) -> dict[str, bytes]:
    """Return the contents of every file of a dataset except the lock and what is derived from the others."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != "lock")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files if path.parent.name != "cache"}


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
    """Running the same command again changes no file."""
    out = tmp_path / "out"
    segkit("build-dataset", six_photos, "-o", out, *build_options)
    before = hashes(out)

    again = segkit("build-dataset", six_photos, "-o", out, *build_options, "--json")

    assert json.loads(again.out)["kept"] == 6
    assert hashes(out) == before


def test_a_build_toml_sets_options(segkit: Segkit, six_photos: Path, build_options: list[str], tmp_path: Path) -> None:
    """The file names folders and options, what was typed takes precedence, and a mistake builds nothing."""
    config = tmp_path / "build.toml"
    config.write_text(f"photos = '{six_photos}'\noutput = '{tmp_path / 'out'}'\nlimit = 3\nmin_size = 64\n")

    planned = segkit("build-dataset", "--config", config, *build_options, "--limit", 2, "--dry-run", "--json")
    built = segkit("build-dataset", "--config", config, *build_options, "--limit", 2, "--json")
    config.write_text("segmentor = 'toy'")
    refused = segkit("build-dataset", six_photos, "--config", config, "-o", tmp_path / "other")

    assert (json.loads(planned.out)["made"], json.loads(built.out)["made"]) == (2, 2)
    assert json.loads(built.out)["dataset"] == str(tmp_path / "out")
    assert Dataset.open(tmp_path / "out").info.settings["min_size"] == 64
    assert (refused.code, "unknown setting 'segmentor'. Did you mean segmenter?" in refused.err) == (2, True)
    assert not (tmp_path / "other").exists()


def test_sigterm_keeps_what_is_finished(
    segkit: Segkit, six_photos: Path, build_options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last line says how far the build came, and the next run builds the rest only."""
    from segkit.build import annotate, units
    from segkit.build.engines import inline

    finish = annotate.finish

    def interrupted(candidates: Any, *arguments: Any) -> Any:
        if any(candidate.source == "4.jpg" for candidate in candidates):
            signal.raise_signal(signal.SIGTERM)
        return finish(candidates, *arguments)

    monkeypatch.setattr(units, "UNIT", 2)
    with monkeypatch.context() as patch:
        patch.setattr(inline, "finish", interrupted)
        stopped = segkit("build-dataset", six_photos, "-o", tmp_path / "out", *build_options)
    again = build(segkit, six_photos, tmp_path / "out", *build_options)

    assert stopped.code == interrupts.EXIT_CODE
    assert stopped.progress[-1].startswith("photos 4 of 6")
    assert stopped.err.startswith(f"{interrupts.STOPPING}\nInterrupted. Run the same command again")
    assert (again["made"], again["kept"]) in ((2, 4), (4, 2))  # the unit being written may be lost


def build(segkit: Segkit, photos: Path, out: Path, *options: object) -> dict[str, Any]:
    """Run build-dataset with --json and return the parsed output."""
    result = segkit("build-dataset", photos, "-o", out, *options, "--json")
    assert result.code == 0, result.err
    return cast("dict[str, Any]", json.loads(result.out))


def lines(dataset: Path) -> list[dict[str, Any]]:
    """Return the manifest's records."""
    return [json.loads(line) for line in (dataset / "metadata.jsonl").read_text().splitlines()]


def test_only_added_photos_are_processed(
    segkit: Segkit, six_photos: Path, build_options: list[str], tmp_path: Path
) -> None:
    """Photos added later give the same files as if they had been there from the start."""
    photos, out, at_once = tmp_path / "photos", tmp_path / "out", tmp_path / "at once" / "out"
    shutil.copytree(six_photos, photos, ignore=shutil.ignore_patterns("5.jpg"))
    build(segkit, photos, out, *build_options)
    shutil.copy(six_photos / "5.jpg", photos)

    added = build(segkit, photos, out, *build_options)

    assert (added["made"], added["kept"]) == (1, 5)
    build(segkit, six_photos, at_once, *build_options)
    assert hashes(out) == hashes(at_once)


def test_a_build_without_a_triple_is_no_success(segkit: Segkit, build_options: list[str], tmp_path: Path) -> None:
    """Where every photo is rejected, the exit code says so, also the second time, and no empty table is printed."""
    photos = tmp_path / "photos"
    photos.mkdir()
    Image.new("RGB", (30, 30)).save(photos / "small.png")

    built = segkit("build-dataset", photos, "-o", tmp_path / "out", *build_options)
    again = segkit("build-dataset", photos, "-o", tmp_path / "out", *build_options)

    assert (built.code, again.code) == (1, 1)
    assert "prompts" not in built.out


def test_a_moved_dataset_and_a_renamed_photo_redo_nothing(
    segkit: Segkit, six_photos: Path, build_options: list[str], tmp_path: Path
) -> None:
    """Keys are hashes of the photos' bytes, so neither the dataset's path nor a photo's name matters."""
    photos, out, moved = tmp_path / "photos", tmp_path / "out", tmp_path / "moved"
    shutil.copytree(six_photos, photos)
    build(segkit, photos, out, *build_options)
    out.rename(moved)
    (photos / "0.jpg").rename(photos / "renamed.jpg")

    again = build(segkit, photos, moved, *build_options)

    assert (again["made"], again["kept"]) == (0, 6)


def test_without_weights_and_network_the_error_names_the_download(
    segkit: Segkit, six_photos: Path, tmp_path: Path
) -> None:
    """The message names the default network and its download, and no output folder remains."""
    result = segkit("build-dataset", six_photos, "-o", tmp_path / "out")

    assert result.code == 2
    assert "hf download shi-labs/oneformer_ade20k_swin_large" in result.err
    assert "segkit demo" in result.err
    assert len(result.err.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_prompts_follow_the_style_options(
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
    """With --no-caption no captioner is loaded, and check warns about each missing prompt."""
    out = tmp_path / "out"
    build(segkit, six_photos, out, "--segmenter", models.oneformer, "--no-caption")

    checked = json.loads(segkit("check", out, "--json").out)

    assert {line["text"] for line in lines(out)} == {""}
    assert checked["counts"] == {"prompt-missing": 6}


def test_coco_networks_use_the_coco_palette(segkit: Segkit, six_photos: Path, tmp_path: Path) -> None:
    """--protocol coco accepts a COCO model, uses COCO's colours and records the palette."""
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


def test_the_default_output_is_next_to_the_photos(
    segkit: Segkit, six_photos: Path, models: Models, tmp_path: Path
) -> None:
    """Without -o, the dataset of photos/ is photos-dataset/."""
    photos = tmp_path / "my photos"
    shutil.copytree(six_photos, photos)

    segkit("build-dataset", photos, "--segmenter", models.oneformer, "--no-caption")

    assert len(lines(tmp_path / "my photos-dataset")) == 6


def test_custom_classes_are_recorded(segkit: Segkit, six_photos: Path, tmp_path: Path) -> None:
    """A palette with added classes is recorded in the dataset, which then accepts and matches no other palette."""
    mine, other, out = tmp_path / "mine.csv", tmp_path / "other.csv", tmp_path / "out"
    segkit("check-palette", "--extend", mine, "--add", "solar panel")
    segkit("check-palette", "--extend", other, "--add", "pergola")
    command = ("build-dataset", six_photos, "-o", out, "--segmenter", "toy", "--no-caption")

    built = segkit(*command, "--palette", mine)

    assert built.code == 0
    assert Dataset.open(out).info.palette.find("solar panel").index == 150
    assert segkit("check", out, "--palette", mine).code == 0
    wrong = segkit("check", out, "--palette", other)
    assert wrong.code == 1
    assert "palette differs from other" in " ".join(wrong.out.split())
    assert segkit(*command, "--palette", mine).code == 0
    assert segkit(*command).code == 0
    again = segkit(*command, "--palette", other)
    assert again.code == 2
    assert "Pass the same palette" in again.err


def test_a_palette_that_clashes_is_refused(segkit: Segkit, six_photos: Path, tmp_path: Path) -> None:
    """The message reports the clash and suggests a free colour, and nothing is written."""
    (tmp_path / "mine.csv").write_text((shipped_folder() / "ade20k.csv").read_text() + "150,pergola,,180,121,120\n")

    refused = segkit(
        "build-dataset", six_photos, "-o", tmp_path / "out", "--segmenter", "toy", "--palette", tmp_path / "mine.csv"
    )

    assert refused.code == 2
    assert "building (1) and pergola (150) are 1.00 apart" in refused.err
    assert "#76FE47" in refused.err
    assert not (tmp_path / "out").exists()
