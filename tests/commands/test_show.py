"""Results of the commands as tables, lines and JSON."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from segkit.build.outcome import Outcome
from segkit.commands import show
from segkit.dataset.checks import RULES, CheckReport
from segkit.dataset.map_repair import SnapResult
from segkit.dataset.stats import Summary
from segkit.maps.diagnose import Diagnosis
from segkit.maps.metrics import MapQuality
from segkit.maps.snap import Snapped
from segkit.palette import Palette
from segkit.problem import Problem
from segkit.reports import findings
from segkit.toy.demo import Evaluation
from trainer.checkpoints.identify import Identity
from trainer.checkpoints.inspect import Inspection
from trainer.checkpoints.soundness import Faults

Capture = pytest.CaptureFixture[str]
SUMMARY = Summary(3, {"wall": 0.5, "sky": 0.25}, {"1-20": 3}, {"train": 3}, {"prompt-cut": 1}, {"too-small": 1}, True)


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Print tables without wrapping."""
    monkeypatch.setenv("COLUMNS", "200")


def cells(text: str) -> list[list[str]]:
    """Return the rows of all tables in a text."""
    rows = ([cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines())
    return [row for row in rows if row]


def test_a_palette_report_counts_quirks_apart(capsys: Capture) -> None:
    """The published palette has many known pairs, of which a table shows the first, and no findings."""
    report = findings.examine(None)
    report = replace(report, pairs=report.pairs * 2)

    show.palette_report(report, False, [Path("page.html")])

    text = capsys.readouterr().out
    quirks = len(report.findings)
    assert text.splitlines()[0] == "ade20k: a palette of 150 classes."
    assert f"No findings ({quirks:,} known quirks of the published palettes)." in text
    assert f"... and {len(report.pairs) - show.MAX_ROWS:,} more" in text
    assert "down to quality 32" in text
    assert text.splitlines()[-1] == "Written: page.html"


def test_long_lists_of_maps_say_how_many_more(capsys: Capture) -> None:
    """Beyond the limit, maps that could not be repaired are counted."""
    results = [SnapResult(f"{number}.png", None, "does not open") for number in range(show.MAX_MAPS + 12)]

    show.snap_results(results, Path("maps"), False)

    lines = capsys.readouterr().out.splitlines()
    assert lines[-3] == "0.png does not open."
    assert lines[-2].startswith("... and 31 more like it: 1.png, 2.png, ")
    assert lines[-2].endswith(", 20.png and 11 more")
    assert lines[-1] == "0 maps repaired, 32 not repaired."


def test_repaired_maps_are_listed_by_doubt(capsys: Capture) -> None:
    """The most doubtful come first; others are listed with the reason."""
    diagnosis = Diagnosis("jpeg", None, "jpeg", 0.1, "blurred borders")
    empty, ade = np.zeros((0, 0), np.uint8), Palette.load("ade20k")
    results = [
        SnapResult("a.png", Path("o/a.png"), "", Snapped(empty, ade, diagnosis, 0.1, ("sky",), (), 0.02)),
        SnapResult("b.png", Path("o/b.png"), "", Snapped(empty, ade, diagnosis, 0.2, (), ("sea", "lake"), 0.3)),
        SnapResult("c.png", None, "does not open"),
    ]

    show.snap_results(results, Path("maps"), False)
    text = capsys.readouterr().out
    show.snap_results(results, Path("maps"), True)

    assert cells(text) == [
        ["jpeg", "2"],
        ["not repaired", "1"],
        ["b.png", "jpeg", "20.0%", "30.0%", "", "sea, lake"],
        ["a.png", "jpeg", "10.0%", "2.0%", "sky", ""],
    ]
    assert text.splitlines()[-4:] == [
        "c.png does not open.",
        "2 maps repaired, 1 not repaired.",
        "Repaired: o",
        "Next: segkit check-palette o",
    ]
    assert [record["file"] for record in json.loads(capsys.readouterr().out)["maps"]] == ["a.png", "b.png", "c.png"]


def test_a_check_lists_rules_and_problems(capsys: Capture) -> None:
    """The table says what is wrong, the rule comes last, and the last line counts errors and warnings."""
    problems = [
        Problem("file-missing", "error", "a.jpg", "a.jpg does not exist.", "Build again."),
        Problem("prompt-missing", "warning", "b", "b has no prompt."),
    ]

    show.check_report(CheckReport(5, problems), Path("rooms"), False)
    text = capsys.readouterr().out
    show.check_report(CheckReport(5, []), Path("rooms"), False)

    assert [RULES["file-missing"], "1", "file-missing"] in cells(text)
    assert text.splitlines()[-1] == "rooms: 5 triples, 1 error, 1 warning."
    assert capsys.readouterr().out == "rooms: 5 triples, no problems.\n"
    show.check_report(CheckReport(5, problems), Path("rooms"), True)
    assert json.loads(capsys.readouterr().out)["counts"] == {"file-missing": 1, "prompt-missing": 1}


def test_a_demo_fits_on_one_screen(capsys: Capture) -> None:
    """At most three captions and the three lowest IoUs are shown, and three commands to run next."""
    maps = replace(findings.examine(None), maps=[])
    iou = {"wall": 0.9, "sky": 0.8, "bed": 0.1, "sofa": 0.3, "lamp": 0.2}
    captions = [(f"{place}.jpg", "a bed", "a bed on the left") for place in range(5)]
    evaluation = Evaluation(MapQuality(5, 0.95, 0.46, iou), captions)

    show.demo_report(Outcome(5, 5, seconds=2.0), SUMMARY, maps, evaluation, Path("demo"), Path("sheet.png"))

    text = capsys.readouterr().out
    assert text.startswith("3 triples of 2 classes in 2.0 s, 2.5 photos/s.\nControl maps: every pixel on the palette.")
    assert text.count("the truth: ") == show.MAX_CAPTIONS
    assert "mIoU 0.460, 95.0% of the pixels right; lowest IoU: bed 0.10, lamp 0.20, sofa 0.30." in text
    assert [line.split()[1] for line in text.splitlines()[-3:]] == ["build-dataset", "check", "train"]


@pytest.mark.parametrize("compared", [False, True])
def test_a_sound_checkpoint_is_described(capsys: Capture, compared: bool) -> None:
    """What could not be compared is not called complete; metadata is a table."""
    identity = Identity("controlnet", "diffusers", "", "SD1", 768, "fp16", 340, 361_279_120)
    result = Inspection(Path("net.safetensors"), identity, Faults(), compared, {"steps": "300"})

    show.inspection(result, str, False)

    text = capsys.readouterr().out
    assert text.startswith("net.safetensors: ")
    assert "of SD1, fp16, 340 tensors. 361,279,120 parameters." in text
    assert cells(text) == [["steps", "300"]]
    assert ("Complete; all shapes are as expected" in text) == compared
    assert ("Completeness cannot be determined" in text) == (not compared)
