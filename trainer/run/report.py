"""RUN/report.html: the progress of a training run on one self-contained page."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from PIL import Image

from segkit import storage
from segkit.reports import axes, page
from trainer.run import log, previews

_TITLES = {
    "loss": "Training loss per step (thin line) and its mean over 50 steps",
    "held_out_loss": "Loss on held-out photos, with the same noise and timesteps at every evaluation",
    "control_gap": "Control gap: held-out loss with shuffled maps minus loss with the true maps, ± 2 standard errors",
    "fidelity": "Fidelity: mIoU of pictures of held-out maps, as the judge sees them, and its 95 % interval",
    "reward_loss": "Cross entropy between the maps and what the reward's segmenter sees, per step and as a mean",
    "reward_agreement": "Share of pixels in which the reward's segmenter sees the map's class, and their mean",
    "reward_gradient": "Share of the reward in the gradient by the prediction, per step and as a mean",
    "photos_per_second": "Photos per second",
}
_NOISY = ("loss", "reward_loss", "reward_agreement", "reward_gradient")
"""Quantities of single batches, which are shown with their mean over _WINDOW steps."""

_POINTS = 600
"""Points per curve, roughly; more would be invisible at this width."""

_WINDOW = 50
"""Steps over which the training loss is averaged."""

Points = list[tuple[float, float]]


@dataclass(frozen=True)
class Tick:
    """A label on an axis; position is in units of the SVG view box."""

    position: str
    label: str


@dataclass(frozen=True)
class Chart:
    """An SVG chart, ready for the template. Curves and band are SVG point lists: "x,y x,y ...".

    Attributes:
        title: the heading.
        curve: the main curve.
        raw: the unsmoothed curve behind it; "" for none.
        band: outline of the error band; "" for none.
        y_ticks: round values, from the bottom to the top.
        x_ticks: round numbers of steps.
    """

    title: str
    curve: str
    raw: str
    band: str
    y_ticks: Sequence[Tick]
    x_ticks: Sequence[Tick]

    left: ClassVar[int] = 72
    right: ClassVar[int] = 530
    top: ClassVar[int] = 10
    bottom: ClassVar[int] = 168
    width: ClassVar[int] = 560
    height: ClassVar[int] = 208


@dataclass(frozen=True)
class _Scale:
    """The visible range of steps and values."""

    first: float
    last: float
    lowest: float
    highest: float

    def x(self, step: float) -> str:
        share = (step - self.first) / (self.last - self.first or 1)
        return f"{Chart.left + share * (Chart.right - Chart.left):.1f}"

    def y(self, value: float) -> str:
        share = (min(max(value, self.lowest), self.highest) - self.lowest) / (self.highest - self.lowest)
        return f"{Chart.bottom - share * (Chart.bottom - Chart.top):.1f}"

    def points(self, points: Points) -> str:
        return " ".join(f"{self.x(step)},{self.y(value)}" for step, value in points)


def write(run: Path, options: Mapping[str, Any], facts: Mapping[str, Any]) -> Path:
    """Write the page from the run's log, best.json and previews.

    Args:
        run: the run's folder.
        options: every option of the run; "steps" is required.
        facts: further facts listed below the options, such as the base model.

    Returns:
        The path of the page.

    Raises:
        StorageError: the page cannot be written, for example because the disk is full.
    """
    lines = log.read(run)
    message = next((str(line["says"]) for line in reversed(lines) if "says" in line), "")
    best = json.loads((run / "best.json").read_text("utf-8")) if (run / "best.json").is_file() else {}
    html = page.render(
        "run.html",
        name=run.resolve().name,
        done=int(lines[-1]["step"]) if lines else 0,
        total=int(options["steps"]),
        message=message[:1].upper() + message[1:],
        best=best,
        scores=[f"{name.replace('_', ' ')} {_shown(value)}" for name, value in best.items() if name != "step"],
        previews=_latest_previews(run),
        charts=list(_charts(lines)),
        options=[(name, value) for name, value in {**options, **facts}.items() if value != ""],
    )
    path = run / "report.html"
    storage.write(path, html.encode())
    return path


def _shown(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:,.5g}"


def _latest_previews(run: Path) -> page.Picture | None:
    sheets = sorted((run / previews.FOLDER).glob("step-????????.png"))
    if not sheets:
        return None
    with Image.open(sheets[-1], formats=["PNG"]) as image:
        return page.embed(image, "control maps, photos, and pictures generated first and now", "PNG", "sheet")


def _charts(lines: Sequence[Mapping[str, Any]]) -> Iterator[Chart]:
    """Yield a chart of each quantity that was measured at least twice."""
    for name, title in _TITLES.items():
        measured = [line for line in lines if name in line]
        if len(measured) < 2:
            continue
        points = [(float(line["step"]), float(line[name])) for line in measured]
        if name in _NOISY:
            yield _chart(title, _moving_mean(points), raw=points)
        else:
            yield _chart(title, points, band=_band(points, [_interval(line, name) for line in measured]))


def _chart(title: str, curve: Points, raw: Points | None = None, band: Points | None = None) -> Chart:
    # The raw loss is clipped to the range of its mean: single steps spike far above it.
    values, steps = axes.around(*_value_range(band or curve)), axes.within(int(curve[0][0]), int(curve[-1][0]))
    scale = _Scale(curve[0][0], curve[-1][0], values.values[0], values.values[-1])
    return Chart(
        title=title,
        curve=scale.points(_thin_out(curve)),
        raw=scale.points(_thin_out(raw)) if raw else "",
        band=scale.points(band) if band else "",
        y_ticks=[Tick(scale.y(value), label) for value, label in zip(values.values, values.labels, strict=True)],
        x_ticks=[Tick(scale.x(step), label) for step, label in zip(steps.values, steps.labels, strict=True)],
    )


def _interval(line: Mapping[str, Any], name: str) -> tuple[float, float]:
    """Return the ends of a quantity's interval: as logged, or two standard errors, which may be 0, from its value."""
    if f"{name}_low" in line:
        return float(line[f"{name}_low"]), float(line[f"{name}_high"])
    value, error = float(line[name]), float(line.get(f"{name}_error", 0.0))
    return value - 2 * error, value + 2 * error


def _band(points: Points, intervals: Sequence[tuple[float, float]]) -> Points:
    """Return the outline of the area between the ends of the points' intervals; empty if none has a width."""
    if all(low == high for low, high in intervals):
        return []
    lower, upper = ([(x, ends[end]) for (x, _), ends in zip(points, intervals, strict=True)] for end in (0, 1))
    return upper + lower[::-1]


def _value_range(points: Points) -> tuple[float, float]:
    values = [y for _, y in points]
    lowest, highest = min(values), max(values)
    return (lowest, highest) if lowest < highest else (lowest - 0.5, highest + 0.5)


def _moving_mean(points: Points) -> Points:
    means, total = [], 0.0
    for index, (x, y) in enumerate(points):
        total += y - (points[index - _WINDOW][1] if index >= _WINDOW else 0.0)
        means.append((x, total / min(index + 1, _WINDOW)))
    return means


def _thin_out(points: Points) -> Points:
    """Return evenly spaced points, fewer than 2 * _POINTS, the last one included."""
    step = max(1, len(points) // _POINTS)
    return points[::-step][::-1]
