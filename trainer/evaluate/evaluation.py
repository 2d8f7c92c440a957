"""segkit evaluate, from ControlNets to results: draw, judge, score, report. Finished pictures are never drawn again."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from segkit import locks, storage
from segkit.build.settings import EngineSettings
from segkit.errors import UsageError
from segkit.maps.bootstrap import Estimate
from segkit.palette import Palette, extend
from segkit.progress import NOTICE, Progress
from trainer.evaluate import cluster, exhibition, judging, outputs, plan, protocols, report, scores, workers
from trainer.evaluate.cluster import Done
from trainer.evaluate.exhibition import JUDGED, PICTURES
from trainer.evaluate.judging import Judge
from trainer.evaluate.plan import Plan, Split
from trainer.evaluate.quality import measure, vectors
from trainer.evaluate.quality.measure import Networks
from trainer.evaluate.scores import Results
from trainer.evaluate.settings import EvaluateSettings
from trainer.evaluate.workers import Worker
from trainer.sample import generate
from trainer.step import meeting

PALETTE = "palette.csv"

_LOCK = ".lock"
_NAMES = {PICTURES, JUDGED, PALETTE, _LOCK, f"{_LOCK}-marker", outputs.RECORD, outputs.PER_CLASS, outputs.PER_MAP}
_NAMES |= {report.REPORT, report.SAMPLES, protocols.FILE, vectors.FOLDER}


@dataclass(frozen=True)
class Evaluation:
    """The outcome of an evaluation.

    Attributes:
        output: its folder.
        results: all scores with their intervals.
        judge: name, revision, hash of the weights and precision of the segmenter.
        notes: what a reader should know, as sentences.
        protocol: name, how pictures were drawn and judged, and of which maps: figures of two evaluations compare only
            if their protocols are equal.
        split: which maps of the dataset were drawn.
    """

    output: Path
    results: Results
    judge: dict[str, str]
    notes: tuple[str, ...]
    protocol: dict[str, Any]
    split: Split

    @property
    def miou(self) -> Estimate:
        """MIoU of the first ControlNet."""
        return self.results.scores[0].metrics["miou"]

    @property
    def verdict(self) -> str:
        """What was measured, in one sentence."""
        return self.results.verdict

    @property
    def report(self) -> Path:
        """The report's file."""
        return self.output / report.REPORT

    def to_json(self) -> dict[str, Any]:
        """Return the outcome as JSON values, without the scores of single maps."""
        return {
            "output": str(self.output), "maps": self.results.maps, "split": asdict(self.split),
            "verdict": self.verdict, "judge": self.judge, "protocol": self.protocol, "notes": list(self.notes),
            **outputs.scores_json(self.results),
        }  # fmt: skip


Load = Callable[[EvaluateSettings, Palette], Judge]
"""Loads a judge."""


@dataclass(frozen=True)
class Execution:
    """Who draws and judges.

    Attributes:
        engine: this process, with others that a launcher started; or workers on a Ray cluster.
        load: loads the judge, wherever that is.
    """

    engine: EngineSettings = field(default_factory=EngineSettings)
    load: Load = judging.load

    @property
    def is_elsewhere(self) -> bool:
        """Whether this process only plans and scores."""
        return self.engine.engine != "inline"


HERE = Execution()


def evaluate(
    controlnets: Sequence[str], dataset: Path, output: Path, settings: EvaluateSettings, progress: Progress,
    execution: Execution = HERE,
) -> Evaluation:  # fmt: skip
    """Draw a dataset's maps with ControlNets and with their base alone, judge the pictures and the photos, and compare.

    Processes that accelerate launch or torchrun started share drawing and judging; each returns the whole outcome, and
    the first writes it.

    Args:
        controlnets: runs, files, folders or hub ids.
        dataset: folder of the dataset.
        output: folder of the evaluation: new, empty, or of an earlier one, whose equal pictures are reused.
        settings: what is drawn, and who judges it.
        progress: called with done and total of the stages "pictures", "judging", "features" and "scores".
        execution: who draws and judges.

    Raises:
        UsageError: the output folder contains something else or an evaluation by another protocol, the judge is not
            the preset's, or see plan.make.
        DatasetError: the dataset is damaged.
        MapError: a map has off-palette pixels.
        PhotoError: a photo cannot be read.
        ModelError: a network is missing, damaged or of another kind.
        TrainingError: the GPU has too little memory, or another process of the evaluation failed.
        LockedError: another evaluation is writing the folder.
        StorageError: the disk is full; finished pictures are kept.
        EngineError: Ray is missing, or its cluster fails; finished pictures are kept.
    """
    worker = workers.current()
    progress = worker.reports(progress)
    # whatever can be refused is refused before the folder is created
    _require_usable(output)
    protocols.require_same(output, settings)
    protocols.require_judge(settings)
    planned = plan.make(controlnets, dataset, output / PALETTE, settings)
    local = replace(settings, device="cpu", precision="fp32") if execution.is_elsewhere else settings
    judge, networks = execution.load(local, planned.palette), measure.load(local)
    notes = _notes(planned, controlnets, settings, judge, networks)
    with _claimed(output, worker):
        protocols.record(output, settings)
        storage.write(output / PALETTE, extend.encode(planned.palette))
        for note in notes:
            progress(NOTICE, 0, 0, note)
        with meeting.meeting(worker.rank, worker.count):
            if execution.is_elsewhere:
                work = partial(_share, _Order(tuple(controlnets), dataset, output, execution.load))
                identity = cluster.spread(settings, execution.engine, work, output / PALETTE, progress)
                judge = replace(judge, identity=identity)
            else:
                _work(planned, _Tools(output, settings, judge, networks), worker, progress, set(notes))
        gallery = exhibition.gallery(planned, output, settings, networks)
        results = scores.compute(exhibition.sightings(planned, output, settings, progress), planned.palette)
        pairs = [(difference.first, difference.second) for difference in results.differences]
        results = replace(results, quality=measure.measure(gallery, settings.distance, pairs))
        protocol = protocols.of_results(settings, planned.scenes, judge)
        evaluation = Evaluation(output, results, judge.identity, notes, protocol, planned.split)
        if worker.is_main:
            _write(evaluation, planned, settings)
    return evaluation


@dataclass(frozen=True)
class _Tools:
    """What draws and judges: the folder, the settings and the networks."""

    output: Path
    settings: EvaluateSettings
    judge: Judge
    networks: Networks


def _work(planned: Plan, tools: _Tools, worker: Worker, progress: Progress, stated: set[str]) -> None:
    """Draw and judge the share of a process; a picture is judged by the one that drew it."""
    output, settings, maps = tools.output, tools.settings, len(planned.scenes)
    _draw(planned, output, worker, progress, stated)
    everything = [exhibit for drawings in exhibition.exhibits(planned, output, settings) for exhibit in drawings]
    judging.judge_all(worker.share(everything, maps), tools.judge, planned.palette, progress)
    items = exhibition.gallery(planned, output, settings, tools.networks).items()
    vectors.compute_all(worker.share(items, maps), progress)


@dataclass(frozen=True)
class _Order:
    """What a worker on a cluster needs to find out what is to be drawn; see evaluate."""

    controlnets: tuple[str, ...]
    dataset: Path
    output: Path
    load: Load


def _share(order: _Order, settings: EvaluateSettings, worker: Worker) -> Done:
    """Draw and judge a share in a worker on a cluster; the process that planned the evaluation holds the lock."""
    planned = plan.make(order.controlnets, order.dataset, order.output / PALETTE, settings)
    judge, networks = order.load(settings, planned.palette), measure.load(settings)
    notes: list[str] = []

    def noting(stage: str, done: int, total: int, note: str = "") -> None:
        notes.extend([note] if stage == NOTICE else [])

    _work(planned, _Tools(order.output, settings, judge, networks), worker, noting, set())
    return Done(judge.identity, tuple(notes))


def _require_usable(output: Path) -> None:
    """Refuse a file, and a folder of other things."""
    if output.exists() and not output.is_dir():
        raise UsageError(f"{output} is a file. Choose a new folder.")
    foreign = [path for path in output.glob("*") if path.name not in _NAMES and storage.TEMPORARY not in path.name]
    if foreign:
        raise UsageError(f"{output} contains {foreign[0].name}, which is not of an evaluation. Choose a new folder.")


@contextmanager
def _claimed(output: Path, worker: Worker) -> Iterator[None]:
    """Create the folder, and lock it: of several processes, the first holds the lock for all."""
    storage.make_folder(output)
    with locks.locked(output / _LOCK) if worker.is_main else nullcontext():
        yield


def _notes(
    planned: Plan, controlnets: Sequence[str], settings: EvaluateSettings, judge: Judge, networks: Networks
) -> tuple[str, ...]:
    """Return what a reader of the results should know."""
    notes = (
        judging.conflict(judge, planned.dataset.info.models["segmenter"]),
        judging.reward_conflict(judge, controlnets),
        *planned.notes,
        *protocols.notes(settings, len(planned.scenes)),
        *networks.notes([scene.request.prompt for scene in planned.scenes]),
    )
    return tuple(filter(None, notes))


def _draw(planned: Plan, output: Path, worker: Worker, progress: Progress, stated: set[str]) -> None:
    requests = worker.share([scene.request for scene in planned.scenes])
    if not requests:
        return
    for place, contender in enumerate(planned.contenders):
        pictures = len(requests) * contender.settings.count
        part = _PartialProgress(progress, place * pictures, len(planned.contenders) * pictures, stated)
        generate.generate(requests, output / PICTURES / contender.folder, contender.settings, part, overwrite=True)


@dataclass(frozen=True)
class _PartialProgress:
    """Reports the progress of a part as progress of the whole, and each notice once.

    Attributes:
        progress: of the whole.
        offset: how many the parts before have.
        whole: how many there are.
        stated: notices that were reported, of all parts.
    """

    progress: Progress
    offset: int
    whole: int
    stated: set[str]

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        if stage == NOTICE:
            if note in self.stated:
                return
            self.stated.add(note)
        self.progress(stage, self.offset + done, self.whole, note)


def _write(evaluation: Evaluation, planned: Plan, settings: EvaluateSettings) -> None:
    """Write the report, the tables and, last, the record."""
    output, results, palette = evaluation.output, evaluation.results, planned.palette
    storage.remove_unfinished(output)  # of a killed process; by now no other one draws or judges
    contenders = [
        {"name": one.name, "kind": one.kind, "pictures": f"{PICTURES}/{one.folder}", "base": one.settings.base}
        for one in planned.contenders
    ]
    facts = {"dataset": str(planned.dataset.folder), "contenders": contenders, "settings": asdict(settings)}
    shown = {
        "judge": evaluation.judge["name"],
        "protocol": evaluation.protocol["name"],
        "split": evaluation.split,
        "notes": evaluation.notes,
        "options": report.options(settings, planned, results),
    }
    report.write(output, results, exhibition.shown(planned, output, settings), palette, shown)
    keys = [scene.request.name for scene in planned.scenes]
    outputs.write(output, evaluation.to_json() | facts, results, keys, palette)
