"""What an evaluation looks at: where the pictures of its maps lie, what the judge saw in them, and what is shown."""

from pathlib import Path

from segkit.maps import metrics
from segkit.progress import Progress
from trainer.evaluate import judging
from trainer.evaluate.judging import Exhibit
from trainer.evaluate.plan import Plan, Scene
from trainer.evaluate.quality.measure import Gallery, Group, Networks
from trainer.evaluate.report import Shown
from trainer.evaluate.scores import Sighting
from trainer.evaluate.settings import EvaluateSettings

PICTURES, JUDGED = "pictures", "judged"
"""Folders of what was drawn, and of what the judge saw in it."""


def exhibits(planned: Plan, output: Path, settings: EvaluateSettings) -> list[list[Exhibit]]:
    """Return what is judged: for each contender and seed, and last for the photos, an exhibit of each map."""
    seeds = range(settings.seed, settings.seed + settings.count)
    drawings = [(contender.folder, f"-{seed}") for contender in planned.contenders for seed in seeds]
    drawn = [
        [
            _exhibit(output / PICTURES / folder / f"{scene.request.name}{suffix}.png", scene, output / JUDGED / folder)
            for scene in planned.scenes
        ]
        for folder, suffix in drawings
    ]
    photos = [_exhibit(scene.photo, scene, output / JUDGED / judging.PHOTOS) for scene in planned.scenes]
    return [*drawn, photos]


def _exhibit(picture: Path, scene: Scene, folder: Path) -> Exhibit:
    return Exhibit(picture, scene.size, folder / f"{picture.stem}.png")


def gallery(planned: Plan, output: Path, settings: EvaluateSettings, networks: Networks) -> Gallery:
    """Return the pictures and photos whose quality is measured."""
    *drawn, photos = exhibits(planned, output, settings)
    groups = [
        Group(contender.name, drawn[place * settings.count : (place + 1) * settings.count])
        for place, contender in enumerate(planned.contenders)
    ]
    return Gallery(networks, planned.scenes, groups, Group(judging.PHOTOS, [photos]), output)


def sightings(planned: Plan, output: Path, settings: EvaluateSettings, progress: Progress) -> list[Sighting]:
    """Compare what the judge saw with the maps."""
    drawings = exhibits(planned, output, settings)
    areas: list[list[metrics.PairCounts]] = [[] for _ in drawings]
    boundaries: list[list[metrics.PairCounts]] = [[] for _ in drawings]
    for done, scene in enumerate(planned.scenes):
        progress("scores", done, len(planned.scenes))
        truth = scene.truth(planned.palette)
        for place, drawing in enumerate(drawings):
            seen = judging.labels(drawing[done], planned.palette)
            areas[place].append(metrics.count_pairs(truth, seen))
            boundaries[place].append(metrics.count_boundary_pairs(truth, seen))
    progress("scores", len(planned.scenes), len(planned.scenes))
    named = [(contender.name, contender.kind) for contender in planned.contenders]
    parts = [slice(place * settings.count, (place + 1) * settings.count) for place in range(len(named))]
    seen_by_judge = [
        Sighting(name, kind, areas[part], boundaries[part]) for (name, kind), part in zip(named, parts, strict=True)
    ]
    return [*seen_by_judge, Sighting("photos", "photos", areas[-1:], boundaries[-1:])]


def shown(planned: Plan, output: Path, settings: EvaluateSettings) -> list[Shown]:
    """Return what the report can show of each map: the first picture of each contender."""
    drawings = exhibits(planned, output, settings)
    firsts = [*drawings[: -1 : settings.count], drawings[-1]]
    return [Shown(scene, [drawing[place] for drawing in firsts]) for place, scene in enumerate(planned.scenes)]
