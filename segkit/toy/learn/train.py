"""Train the networks shipped with segkit, from seeds alone: python -m segkit.toy.learn -o FOLDER."""

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
from segkit.toy.learn import base, captioner, card, diffusion, judge, lessons, measure, networks, sdxl, segmenter
from segkit.toy.learn.course import Course, Report
from segkit.toy.learn.lessons import Lesson
from segkit.toy.world import CLASSES, grammar

Figures = dict[str, Any]
"""The contents of figures.json."""

NETWORKS = ("segmenter", "captioner", "base", "base-sdxl", "judge")

SIDES = (128, 256)
"""Sides of the square held-out scenes, in pixels."""

MAX_DRAWINGS = 200
"""Maximum number of held-out sentences to generate pictures from, because sampling is slow."""


@dataclass(frozen=True)
class Plan:
    """Amount of training and evaluation.

    Attributes:
        lessons: number of training samples by network.
        scenes: number of held-out scenes for evaluation.
        seed: seed for weights and batches.
        courses: steps, batch size, peak learning rate and, if it is longer, the rate's cycle by course, named
            "NETWORK: COURSE".
    """

    lessons: dict[str, int]
    scenes: int
    seed: int
    courses: dict[str, tuple[int, int, float] | tuple[int, int, float, int]]

    def course(self, name: str) -> Course:
        """Return the course of a name."""
        steps, batch, rate, *cycle = self.courses[name]
        return Course(steps, batch, rate, self.seed_of(name), *cycle)

    def seed_of(self, name: str) -> int:
        """Return the seed of a network or course: the judge has one of its own."""
        return self.seed + (judge.SEED if name.startswith("judge") else 0)


FULL = Plan(
    lessons={"segmenter": 8000, "captioner": 20000, "base": 16000, "base-sdxl": 4000, "judge": 8000},
    scenes=500,
    seed=1,
    courses={
        "segmenter: sight": (2000, 16, 2e-3),
        "segmenter: masks": (2600, 8, 2e-3),
        "captioner: sight": (3000, 32, 1e-3),
        "captioner: words": (3600, 32, 1e-3),
        "base: pictures": (6000, 8, 2e-3),
        "base: drawing": (14000, 16, 1e-3),
        "base-sdxl: drawing": (1500, 16, 5e-4),
        "judge: coarse": (2500, 16, 2e-3, 4500),
        "judge: fine": (120, 16, 1e-3),
    },
)
QUICK = Plan(
    lessons={"segmenter": 120, "captioner": 120, "base": 120, "base-sdxl": 120, "judge": 120},
    scenes=12,
    seed=1,
    courses={
        "segmenter: sight": (70, 8, 2e-3),
        "segmenter: masks": (100, 4, 2e-3),
        "captioner: sight": (40, 16, 1e-3),
        "captioner: words": (40, 16, 1e-3),
        "base: pictures": (30, 8, 1e-3),
        "base: drawing": (30, 16, 1e-3),
        "base-sdxl: drawing": (30, 16, 1e-3),
        "judge: coarse": (40, 8, 2e-3, 60),
        "judge: fine": (10, 8, 1e-3),
    },
)
"""Shows within two minutes that the script runs and the losses fall; the networks are useless otherwise."""


def train(folder: Path, plan: Plan, names: Sequence[str] = NETWORKS) -> Figures:
    """Train and evaluate networks; write their weights, figures.json and, once all are trained, the model card.

    Args:
        folder: output folder; figures of networks that are not trained now are preserved.
        plan: amount of training and evaluation.
        names: members of NETWORKS.

    Returns:
        The contents of figures.json.

    Raises:
        StorageError: the disk is full.
    """
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    path = folder / "figures.json"
    figures: Figures = json.loads(path.read_text()) if path.exists() else {}
    figures |= {"scenes": plan.scenes, "seed": plan.seed}
    for name in names:
        figures[name] = _train(_job(name, plan, folder), plan, folder, device)
        storage.write(path, json.dumps(figures, indent=2).encode() + b"\n")
    if all(name in figures for name in NETWORKS):
        storage.write(folder / "README.md", card.write(figures).encode())
    return figures


TrainFunction = Callable[[Sequence[Any], Sequence[Lesson], Course, str, Report], None]
"""Trains a network in place: (network, samples, course, device, report)."""


@dataclass(frozen=True)
class _Job:
    """The training of one network.

    Attributes:
        name: member of NETWORKS.
        network: the model and its processor, or a pipeline alone; the model comes first.
        courses: train functions by course name, in order.
        sizes: sizes of the training scenes.
        measure: evaluates the saved folder, loaded as users load it, on the scenes of a range of seeds.
        first: number of the first training scene.
    """

    name: str
    network: Sequence[Any]
    courses: dict[str, TrainFunction]
    sizes: lessons.Sizes
    measure: Callable[[Path, range], Figures]
    first: int = 0


def _job(name: str, plan: Plan, folder: Path) -> _Job:
    cpu, palette = Device("cpu", "fp32"), Palette.load("ade20k")

    def maps(path: Path, seeds: range) -> Figures:
        segment = NeuralSegmenter(str(path), palette, cpu)
        return {str(side): asdict(measure.segmenter(segment, seeds, (side, side), palette)) for side in SIDES}

    def captions(path: Path, seeds: range) -> Figures:
        caption = NeuralCaptioner(str(path), cpu)
        return {str(side): asdict(measure.captioner(caption, seeds, (side, side))) for side in SIDES}

    def drawings(path: Path, seeds: range) -> Figures:
        trained = path.parent / "segmenter"
        segment = NeuralSegmenter(str(trained) if hub.has_weights(trained) else hub.TOY, palette, cpu)
        return asdict(measure.drawings(path, segment, seeds[:MAX_DRAWINGS], palette))

    if name == "segmenter":
        network = networks.oneformer(palette, networks.TOY, plan.seed)
        train_segmenter: dict[str, TrainFunction] = {
            "sight": segmenter.train_backbone,
            "masks": segmenter.train_oneformer,
        }
        return _Job(name, network, train_segmenter, lessons.SIZES, maps)
    if name == "judge":
        network = networks.segformer(CLASSES, plan.seed_of(name))
        train_judge: dict[str, TrainFunction] = {"coarse": judge.train_coarsely, "fine": judge.train_finely}
        return _Job(name, network, train_judge, judge.SIZES, maps, judge.FIRST)
    if name == "captioner":
        network = networks.blip(grammar.vocabulary(), networks.TOY, plan.seed)
        train_captioner: dict[str, TrainFunction] = {
            "sight": captioner.train_vision,
            "words": captioner.train_captioner,
        }
        return _Job(name, network, train_captioner, lessons.SIZES, captions)
    if name == "base-sdxl":
        trained_base = folder / "base"
        start = diffusion.load(trained_base if trained_base.is_dir() else hub.shipped("base"))
        large = diffusion.stable_diffusion_xl(start, plan.seed)
        return _Job(name, [large], {"drawing": sdxl.train_unet}, [base.SIZE], drawings)
    pipeline = diffusion.stable_diffusion(grammar.vocabulary(), plan.seed)
    train_base: dict[str, TrainFunction] = {"pictures": base.train_vae, "drawing": base.train_unet}
    return _Job(name, [pipeline], train_base, [base.SIZE], drawings)


def _train(job: _Job, plan: Plan, folder: Path, device: str) -> Figures:
    """Evaluate a network untrained, train it, save it in fp16 and evaluate it again."""
    import torch

    model = job.network[0]
    started = time.perf_counter()
    with hub.quiet():
        untrained = job.measure(networks.write(folder / job.name, job.network), range(min(plan.scenes, 40)))
    console.line(f"{job.name}: rendering {plan.lessons[job.name]:,} scenes")
    samples = lessons.render(plan.lessons[job.name], job.sizes, job.first)
    courses = {}
    for name, train_function in job.courses.items():
        title = f"{job.name}: {name}"
        report = _Report(title, plan.course(title))
        train_function(job.network, samples, report.course, device, report)
        courses[name] = report.figures()
    with hub.quiet():
        networks.halve(model)
        networks.write(folder / job.name, job.network)
    trained = job.measure(folder / job.name, range(plan.scenes))
    return {
        "parameters": networks.parameters(model),
        "lessons": len(samples),
        "courses": courses,
        "untrained": untrained,
        "trained": trained,
        "seconds": round(time.perf_counter() - started),
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads, trained on {device}",
        "versions": {name: version(name) for name in ("torch", "transformers", "diffusers")},
    }


class _Report:
    """Prints the progress of a course and records its time and losses."""

    def __init__(self, title: str, course: Course) -> None:
        self.title, self.course = title, course
        self.losses: list[float] = []
        self.started = time.perf_counter()

    def __call__(self, loss: float) -> None:
        self.losses.append(loss)
        done, recent = len(self.losses), self.losses[-50:]
        if done % 50 == 0 or done == self.course.steps:
            pace = (time.perf_counter() - self.started) / done
            remaining = pace * (self.course.steps - done) / 60
            status = f"loss {sum(recent) / len(recent):.3f}, {pace:.2f} s/step, {remaining:.1f} minutes left"
            console.line(f"{self.title}, step {done:,} of {self.course.steps:,}: {status}")

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
    help="Folder for the networks, figures.json and the model card.",
)
@click.option("--quick", is_flag=True, help="A two-minute trial run instead of two hours of training.")
@click.option(
    "--only", type=click.Choice(NETWORKS), help="Train this network only; keep the others' files and figures."
)
@click.option("--force", is_flag=True, help="Overwrite files in a folder that is not empty.")
def main(output: Path, quick: bool, only: str | None, force: bool) -> None:
    """Train the toy OneFormer, BLIP, Stable Diffusions and SegFormer on rendered scenes; evaluate on held-out ones."""
    try:
        if output.exists() and any(output.iterdir()) and not force:
            raise UsageError(f"{output} is not empty. Choose another folder with -o, or overwrite it with --force.")
        figures = train(output, QUICK if quick else FULL, (only,) if only else NETWORKS)
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
