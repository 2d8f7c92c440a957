"""RUN/report.html: how a training goes, on one self-contained page; needs no network, runs no script."""

import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from PIL import Image

from segkit import storage
from segkit.reports import page
from trainer.run import log, previews

_CURVES = {
    "loss": "Loss of the steps (thin), and its mean over 50",
    "held_out_loss": "Loss of held-out photos, the same noise and times each time",
    "control_gap": "Control gap: that loss with the maps shuffled, less the true one; the band is two standard errors",
    "photos_per_second": "Photos a second",
}
_WIDTH, _HEIGHT, _LEFT, _LOW, _TOP = 560, 180, 72, 22, 10
_MOST = 600
"""Points of a curve."""

_MEAN = 50

Points = list[tuple[float, float]]


def write(run: Path, options: Mapping[str, Any], told: Mapping[str, Any]) -> Path:
    """Write the page from what the run's folder holds.

    Args:
        run: its folder.
        options: every option of the run.
        told: what else is known, such as the base.

    Returns:
        The page's path.

    Raises:
        StorageError: the disk is full.
    """
    lines = log.read(run)
    words = next((str(line["says"]) for line in reversed(lines) if "says" in line), "")
    best = json.loads((run / "best.json").read_text("utf-8")) if (run / "best.json").is_file() else {}
    numbers = "; ".join(f"{name.replace('_', ' ')} {value:,.5g}" for name, value in best.items() if name != "step")
    chosen = f"Best checkpoint: step {best['step']:,} ({numbers}). " if best else ""
    done = int(lines[-1]["step"]) if lines else 0
    rows = [(escape(name), escape(str(value))) for name, value in {**options, **told}.items() if value != ""]
    body = f"""<p>{escape(chosen + words[:1].upper() + words[1:])}</p>
{_sheet(run)}
<section class="numbers curves">
{"".join(_curve(lines, name, title) for name, title in _CURVES.items())}
</section>
<h2>Options</h2>
{page.table(rows, css="text")}"""
    path = run / "report.html"
    heading = f"{run.resolve().name}: {done:,} of {int(options['steps']):,} steps"
    storage.write(path, page.document("segkit run", heading, body).encode())
    return path


def _sheet(run: Path) -> str:
    sheets = sorted((run / previews.FOLDER).glob("step-????????.png"))
    if not sheets:
        return ""
    with Image.open(sheets[-1], formats=["PNG"]) as image:
        drawn = page.picture(image, "control maps, photos, and what was drawn at the start and now", "PNG", "sheet")
    return f"<h2>Drawn from maps and prompts</h2>\n{drawn}"


def _curve(lines: Sequence[Mapping[str, Any]], name: str, title: str) -> str:
    """Return a chart as SVG; nothing where nothing was measured."""
    points = [(float(line["step"]), float(line[name])) for line in lines if name in line]
    if len(points) < 2:
        return ""
    errors = [float(line.get(f"{name}_error", 0.0)) for line in lines if name in line]
    band = [(x, y + 2 * error) for (x, y), error in zip(points, errors, strict=True)]
    band += reversed([(x, y - 2 * error) for (x, y), error in zip(points, errors, strict=True)])
    smooth = _smoothed(points) if name == "loss" else points
    lowest, highest = _range(smooth if name == "loss" else band)
    steps = points[0][0], points[-1][0]

    def place(x: float, y: float) -> str:
        across = _LEFT + (x - steps[0]) / (steps[1] - steps[0] or 1) * (_WIDTH - _LEFT - 8)
        down = (_HEIGHT - _LOW) * (1 - (min(max(y, lowest), highest) - lowest) / (highest - lowest)) + _TOP
        return f"{across:.1f},{down:.1f}"

    def line(of: Points, css: str) -> str:
        return f'<polyline class="{css}" points="{" ".join(place(*each) for each in _thinned(of))}"/>'

    filled = f'<polygon points="{" ".join(place(*each) for each in band)}"/>' if any(errors) else ""
    thin = line(points, "thin") if name == "loss" else ""
    labels = "".join(
        f'<text x="{_LEFT - 6}" y="{float(place(0, value).split(",")[1]) + 4:.0f}" text-anchor="end">{value:.4g}</text>'
        f'<path d="M{_LEFT} {place(0, value).split(",")[1]}H{_WIDTH - 8}"/>'
        for value in (lowest, (lowest + highest) / 2, highest)
    )
    ends = "".join(
        f'<text x="{place(step, 0).split(",")[0]}" y="{_HEIGHT + _TOP}" text-anchor="{anchor}">{step:,.0f}</text>'
        for step, anchor in zip(steps, ("start", "end"), strict=True)
    )
    return (
        f'<div><h2>{escape(title)}</h2><svg viewBox="0 0 {_WIDTH} {_HEIGHT + _TOP + 4}" role="img" '
        f'aria-label="{escape(title)}">{labels}{filled}{thin}{line(smooth, "curve")}{ends}</svg></div>\n'
    )


def _range(points: Points) -> tuple[float, float]:
    values = [y for _, y in points]
    lowest, highest = min(values), max(values)
    return (lowest, highest) if lowest < highest else (lowest - 0.5, highest + 0.5)


def _smoothed(points: Points) -> Points:
    """Return the means over the last steps."""
    found, total = [], 0.0
    for place, (x, y) in enumerate(points):
        total += y - (points[place - _MEAN][1] if place >= _MEAN else 0.0)
        found.append((x, total / min(place + 1, _MEAN)))
    return found


def _thinned(points: Points) -> Points:
    """Return as many points as can be seen, the last among them."""
    step = max(1, len(points) // _MOST)
    return points[::-step][::-1]
