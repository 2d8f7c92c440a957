"""The report shows a run's curves, previews and options on one page, and escapes what it shows."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from segkit import storage
from trainer.run import report


@pytest.fixture
def drawn(tmp_path: Path) -> Path:
    """The folder of a run of four steps with validation and previews, and its report."""
    run = tmp_path / "run"
    verdict: dict[str, Any] = {
        "says": "the network does not use the map yet: control gap 0.10000 ± 0.20000, not significant"
    }
    gap = verdict | {"held_out_loss": 0.5, "control_gap": 0.1, "control_gap_error": 0.2}
    steps: list[dict[str, Any]] = [
        {"step": step, "loss": 1 / step, "photos_per_second": 9.0} | (gap if step % 2 == 0 else {})
        for step in range(1, 5)
    ]
    storage.write_lines(run / "log.jsonl", [{"step": 0} | gap, *steps])
    (run / "best.json").write_text(json.dumps({"step": 2, "held_out_loss": 0.5}))
    (run / "previews" / "step-00000004").mkdir(parents=True)
    for step in (2, 4):
        Image.new("RGB", (8 * step, 8), "red").save(run / "previews" / f"step-{step:08}.png")
    report.write(run, {"steps": 4, "name": ""}, {"base": "small"})
    return run


def lines(run: Path, *steps: dict[str, Any]) -> str:
    """Write a log and return the page."""
    storage.write_lines(run / "log.jsonl", list(steps))
    return report.write(run, {"steps": 2000}, {}).read_text()


def points(page: str) -> list[list[tuple[float, float]]]:
    """Return the points of all polylines and polygons of a page, in its order."""
    return [
        [(float(x), float(y)) for x, y in (point.split(",") for point in text.split())]
        for text in re.findall(r'points="([^"]+)"', page)
    ]


def test_a_run_without_steps_has_a_report(tmp_path: Path) -> None:
    """There are no curves, no best checkpoint and no previews yet."""
    page = report.write(tmp_path / "run", {"steps": 2000}, {}).read_text()
    assert "run: 0 of 2,000 steps" in page
    assert "<title>run: segkit run</title>" in page
    assert "<svg" not in page
    assert "Best checkpoint" not in page


def test_a_quantity_measured_once_has_no_curve(tmp_path: Path) -> None:
    """A curve needs two points."""
    page = lines(tmp_path, {"step": 1, "loss": 0.5}, {"step": 2, "loss": 0.25, "held_out_loss": 0.5})
    assert page.count("<svg") == 1
    assert "Training loss" in page


def test_the_loss_is_averaged_and_clipped(tmp_path: Path) -> None:
    """The mean runs from the first step to the last; a spike of the raw loss does not leave the chart."""
    spike = [1.0] * 99 + [100.0] + [1.0] * 100
    page = lines(tmp_path, *({"step": step, "loss": loss} for step, loss in enumerate(spike, 1)))

    curves = sorted(points(page), key=len)
    assert len(curves) == 2
    for curve in curves:
        assert [curve[0][0], curve[-1][0]] == [report.Chart.left, report.Chart.right]
        assert all(report.Chart.top <= y <= report.Chart.bottom for _, y in curve)
    heights = {y for curve in curves for _, y in curve}
    assert {report.Chart.top, report.Chart.bottom} <= heights
    assert [label for label in ("1", "2", "3") if f">{label}<" in page] == ["1", "2", "3"]  # the highest mean is 2.98
    assert ">step</text>" in page


def test_a_long_run_has_a_small_page(tmp_path: Path) -> None:
    """Curves are thinned out, and the last step stays."""
    page = lines(tmp_path, *({"step": step, "loss": step % 7} for step in range(1, 10_001)))
    for curve in points(page):
        assert len(curve) < 1200
        assert curve[-1][0] == report.Chart.right


def test_an_error_band_surrounds_its_curve(tmp_path: Path) -> None:
    """It lies two standard errors around the gap; the axis covers it."""
    steps = [{"step": step, "control_gap": 0.5, "control_gap_error": 0.1} for step in (1, 2)]

    page = lines(tmp_path, *steps)

    curve, band = sorted(points(page), key=len)
    middle = (report.Chart.top + report.Chart.bottom) / 2
    assert curve == [(report.Chart.left, middle), (report.Chart.right, middle)]
    upper, lower = band[0][1], band[-1][1]
    assert upper + lower == pytest.approx(2 * middle)
    assert report.Chart.top < upper < lower < report.Chart.bottom
    assert [label for label in ("0.2", "0.4", "0.6", "0.8") if f">{label}<" in page] == ["0.2", "0.4", "0.6", "0.8"]


def test_the_latest_message_and_the_best_checkpoint_are_shown(drawn: Path) -> None:
    """The message starts with a capital letter; empty options are left out."""
    page = (drawn / "report.html").read_text()
    assert "The network does not use the map yet" in page
    assert "Best checkpoint: step 2 (held out loss 0.5)." in page
    assert "small" in page
    assert ">name<" not in page


def test_a_report_is_self_contained(drawn: Path) -> None:
    """The page has curves, the latest sheet, the verdict and the options, but no script and no external link."""
    text = (drawn / "report.html").read_text()

    assert "run: 4 of 4 steps" in text
    assert text.count("<svg") == 4
    assert "data:image/png;base64," in text
    assert "control gap" in text
    assert "held out loss" in text
    assert "<script" not in text
    assert "http" not in text.replace('http-equiv="', "")


def test_a_report_escapes_html(drawn: Path, tmp_path: Path) -> None:
    """Names of runs, bases and options are escaped; an incomplete last line of the log is ignored."""
    run = shutil.copytree(drawn, tmp_path / "<img src=x onerror=alert(1)>")
    with (run / "log.jsonl").open("a") as file:
        file.write('{"step": 5, "lo')

    page = report.write(run, {"steps": 9, "name": "<b>mine</b>"}, {"base": "<i>"}).read_text()

    assert "4 of 9 steps" in page
    assert "<b>" not in page
    assert "<i>" not in page
    assert "<img src=x" not in page
