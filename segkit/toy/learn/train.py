"""Make the networks that segkit ships, from seeds alone: python -m segkit.toy.learn -o FOLDER."""

import json
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click

from segkit import console, storage
from segkit.errors import SegkitError, UsageError
from segkit.models import hub
from segkit.models.caption import NeuralCaptioner
from segkit.models.device import Device
from segkit.models.segment import NeuralSegmenter
from segkit.palette import Palette
from segkit.toy.learn import base, captioner, card, lessons, measure, networks, segmenter
from segkit.toy.learn.course import Course, Report
from segkit.toy.learn.lessons import Lesson
from segkit.toy.world import grammar

Figures = dict[str, Any]
"""What is known of a training, as JSON has it."""

NETWORKS = ("segmenter", "captioner", "base")

SIDES = (128, 256)
"""Sizes of the held-out scenes: squares, in pixels."""


DRAWN = 200
"""Held-out scenes whose sentences are drawn, at most: drawing takes its time."""


@dataclass(frozen=True)
class Plan:
    """How much is learnt and measured.

    Attributes:
        lessons: scenes to learn from, by network.
        scenes: held-out scenes to measure on.
        seed: of weights and batches.
        courses: steps, scenes a step and highest learning rate of each.
    """

    lessons: dict[str, int]
    scenes: int
    seed: int
    courses: dict[str, tuple[int, int, float]]

    def course(self, name: str) -> Course:
        """Return a course by its name."""
        return Course(*self.courses[name], self.seed)


WHOLE = Plan(
    lessons={"segmenter": 8000, "captioner": 20000, "base": 16000},
    scenes=500,
    seed=1,
    courses={
        "segmenter: sight": (2000, 16, 2e-3),
        "segmenter: masks": (2600, 8, 2e-3),
        "captioner: sight": (3000, 32, 1e-3),
        "captioner: words": (3600, 32, 1e-3),
        "base: pictures": (6000, 8, 2e-3),
        "base: drawing": (14000, 16, 1e-3),
    },
)
QUICK = Plan(
    lessons={"segmenter": 120, "captioner": 120, "base": 120},
    scenes=12,
    seed=1,
    courses={
        "segmenter: sight": (70, 8, 2e-3),
        "segmenter: masks": (70, 8, 2e-3),
        "captioner: sight": (40, 16, 1e-3),
        "captioner: words": (40, 16, 1e-3),
        "base: pictures": (30, 8, 1e-3),
        "base: drawing": (30, 16, 1e-3),
    },
)
"""Shows in two minutes that the script runs and that its networks learn; they are of no other use."""


def train(folder: Path, plan: Plan, names: Sequence[str] = NETWORKS) -> Figures:
    """Train networks and write each with its figures; last, when both are there, the model card.

    Args:
        folder: figures of networks that are not trained now are kept.
        plan: how much is learnt and measured.
        names: members of NETWORKS.

    Returns:
        The figures, as figures.json has them.

    Raises:
        StorageError: the disk is full.
    """
    import torch

    where = "cuda" if torch.cuda.is_available() else "cpu"
    path = folder / "figures.json"
    figures: Figures = json.loads(path.read_text()) if path.exists() else {}
    figures |= {"scenes": plan.scenes, "seed": plan.seed}
    for name in names:
        figures[name] = _teach(_pupil(name, plan), plan, folder, where)
        storage.write(path, json.dumps(figures, indent=2).encode() + b"\n")
    if all(name in figures for name in NETWORKS):
        storage.write(folder / "README.md", card.write(figures).encode())
    return figures


Learn = Callable[[Sequence[Any], Sequence[Lesson], Course, str, Report], None]
"""Trains a network in place."""


@dataclass(frozen=True)
class _Pupil:
    """A network, how it learns, and how it is measured: from its folder, as users load it, on the scenes of a range.

    Attributes: its name, what is written of it (the network first), its courses, the lessons' sizes, its measure.
    """

    name: str
    network: Sequence[Any]
    courses: dict[str, Learn]
    sizes: lessons.Sizes
    measure: Callable[[Path, range], Figures]


def _pupil(name: str, plan: Plan) -> _Pupil:
    cpu, table = Device("cpu", "fp32"), Palette.load("ade20k")

    def maps(path: Path, seeds: range) -> Figures:
        segment = NeuralSegmenter(str(path), table, cpu)
        return {str(side): asdict(measure.segmenter(segment, seeds, (side, side), table)) for side in SIDES}

    def captions(path: Path, seeds: range) -> Figures:
        caption = NeuralCaptioner(str(path), cpu)
        return {str(side): asdict(measure.captioner(caption, seeds, (side, side))) for side in SIDES}

    def drawings(path: Path, seeds: range) -> Figures:
        own = path.parent / "segmenter"
        segment = NeuralSegmenter(str(own) if hub.has_weights(own) else hub.TOY, table, cpu)
        return asdict(measure.drawings(path, segment, seeds[:DRAWN], table))

    if name == "segmenter":
        network = networks.oneformer(table, networks.TOY, plan.seed)
        masks: dict[str, Learn] = {"sight": segmenter.sight, "masks": segmenter.masks}
        return _Pupil(name, network, masks, lessons.SIZES, maps)
    if name == "captioner":
        network = networks.blip(grammar.vocabulary(), networks.TOY, plan.seed)
        words: dict[str, Learn] = {"sight": captioner.sight, "words": captioner.words}
        return _Pupil(name, network, words, lessons.SIZES, captions)
    pipeline = networks.stable_diffusion(grammar.vocabulary(), plan.seed)
    drawing: dict[str, Learn] = {"pictures": base.pictures, "drawing": base.drawing}
    return _Pupil(name, [pipeline], drawing, [base.SIZE], drawings)


def _teach(pupil: _Pupil, plan: Plan, folder: Path, where: str) -> Figures:
    """Measure a network untrained, train it, write it in fp16, and measure it again."""
    import torch

    model = pupil.network[0]
    started = time.perf_counter()
    with hub.quiet():
        before = pupil.measure(networks.write(folder / pupil.name, pupil.network), range(min(plan.scenes, 40)))
    console.line(f"{pupil.name}: rendering {plan.lessons[pupil.name]:,} scenes")
    rendered = lessons.render(plan.lessons[pupil.name], pupil.sizes)
    courses = {}
    for name, learn in pupil.courses.items():
        title = f"{pupil.name}: {name}"
        report = _Report(title, plan.course(title))
        learn(pupil.network, rendered, report.course, where, report)
        courses[name] = report.figures()
    with hub.quiet():
        networks.halve(model)
        networks.write(folder / pupil.name, pupil.network)
    after = pupil.measure(folder / pupil.name, range(plan.scenes))
    return {
        "parameters": networks.parameters(model),
        "lessons": len(rendered),
        "courses": courses,
        "untrained": before,
        "trained": after,
        "seconds": round(time.perf_counter() - started),
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads, trained on {where}",
        "versions": {name: version(name) for name in ("torch", "transformers", "diffusers")},
    }


class _Report:
    """Tells how a course goes, and keeps its time and losses."""

    def __init__(self, title: str, course: Course) -> None:
        self.title, self.course = title, course
        self.losses: list[float] = []
        self.started = time.perf_counter()

    def __call__(self, loss: float) -> None:
        self.losses.append(loss)
        done, last = len(self.losses), self.losses[-50:]
        if done % 50 == 0 or done == self.course.steps:
            pace = (time.perf_counter() - self.started) / done
            left = pace * (self.course.steps - done) / 60
            said = f"loss {sum(last) / len(last):.3f}, {pace:.2f} s a step, {left:.1f} minutes left"
            console.line(f"{self.title}, step {done:,} of {self.course.steps:,}: {said}")

    def figures(self) -> Figures:
        tenth = max(1, len(self.losses) // 10)
        return {
            **asdict(self.course),
            "seconds": round(time.perf_counter() - self.started),
            "first_loss": sum(self.losses[:tenth]) / tenth,
            "last_loss": sum(self.losses[-tenth:]) / tenth,
        }


@click.command(epilog="Example: python -m segkit.toy.learn -o toy-weights")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default="toy-weights",
    show_default=True,
    help="Folder for the networks, their figures and the model card.",
)
@click.option("--quick", is_flag=True, help="Two minutes instead of two hours: shows that it runs and learns.")
@click.option("--only", type=click.Choice(NETWORKS), help="Train this one; the others' files and figures stay.")
@click.option("--force", is_flag=True, help="Write over what is in the folder.")
def main(output: Path, quick: bool, only: str | None, force: bool) -> None:
    """Train the toy OneFormer, BLIP and Stable Diffusion on rendered scenes, and measure them on new ones."""
    try:
        if output.exists() and any(output.iterdir()) and not force:
            raise UsageError(f"{output} is not empty. Name another folder with -o, or write over it with --force.")
        figures = train(output, QUICK if quick else WHOLE, (only,) if only else NETWORKS)
    except SegkitError as error:
        console.line(f"Error: {error}", error=True)
        raise SystemExit(error.exit_code) from None
    for name in NETWORKS if only is None else (only,):
        console.line(card.summary(name, figures[name]))
    console.line(
        f"Use them: segkit build-dataset photos/ --segmenter {output}/segmenter --captioner {output}/captioner , then "
        f"segkit train photos-dataset --base {output}/base --controlnet fresh --resolution 64"
    )


if __name__ == "__main__":
    main()
