"""ControlNets are trained, draw pictures and are evaluated."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from segkit.api import arguments
from segkit.api.arguments import PathOrStr
from segkit.progress import Progress, silent
from segkit.settings import DrawSettings

if TYPE_CHECKING:
    from segkit.dataset import Dataset
    from segkit.dataset.collection import Triples
    from trainer.evaluate.evaluation import Evaluation
    from trainer.loop import Outcome
    from trainer.sample.generate import Picture


def train(
    dataset: "PathOrStr | Dataset",
    output: PathOrStr,
    *,
    accept_changes: bool = False,
    progress: Progress = silent,
    **settings: Any,
) -> "Outcome":
    """Finetune a segmentation ControlNet, or resume a run bit for bit.

    For bit-exact resume on a CPU, Intel MKL must be configured before its first computation in the process: set
    the environment variable MKL_CBWR to AUTO,STRICT before PyTorch is used. The command line does so itself.

    Args:
        dataset: a dataset or its folder, a folder or URL of shards, or a folder in the layout of fill50k, an
            imagefolder or kohya's scripts.
        output: the run's folder: new, empty, or a run with the same settings, which is resumed.
        accept_changes: resume even if photos, maps or prompts have changed.
        progress: see segkit.progress.
        settings: fields of trainer.settings.TrainSettings, such as base="toy", controlnet="fresh" or steps=500.

    Returns:
        How the run ended. It can be passed on as `controlnet` to generate, or as `run` to export.

    Raises:
        UsageError: a setting is unknown, out of range, or differs from the run's.
        DatasetError: the dataset is invalid or has errors.
        ModelError: a network is missing, damaged or of another kind.
        TrainingError: the loss is NaN or infinite, or memory is too small.
        StorageError: the disk is full; checkpoints stay.
    """
    from trainer import loop
    from trainer.data import shards
    from trainer.settings import TrainSettings, require_mode_of_union

    chosen = arguments.settings(TrainSettings, settings)
    require_mode_of_union(chosen.controlnet, settings.get("controlnet_mode"))
    data = shards.of_text(dataset) if isinstance(dataset, str) else arguments.folder(dataset)
    return loop.train(data, arguments.path(output, "output"), chosen, progress, accept_changes)


def generate(
    maps: "PathOrStr | Triples",
    *,
    prompt: str = "",
    output: PathOrStr = "pictures",
    overwrite: bool = False,
    progress: Progress = silent,
    **settings: Any,
) -> "list[Picture]":
    """Draw pictures from control maps with a Stable Diffusion and a ControlNet.

    Args:
        maps: a map, a folder of maps, a dataset or the folder or URL of its shards (the held-out triples, or all if
            none are held out) or triples, such as rooms.val.
        prompt: for maps without a prompt of their own.
        output: the folder of the pictures, and of their contact sheet strengths.png if there are several strengths.
            Pictures that were drawn before are kept.
        overwrite: replace other files with the same names.
        progress: see segkit.progress.
        settings: fields of trainer.settings.GenerateSettings, such as controlnet=run, base="toy" or seed=0.

    Returns:
        The pictures, whose `image` opens them.

    Raises:
        UsageError: a setting is unknown or out of range, a map has no prompt, or a file is in the way.
        MapError: a map is off the palette.
        ModelError: a network is missing, damaged or of another kind.
        TrainingError: the GPU's memory is too small.
    """
    from segkit.dataset import Dataset
    from segkit.dataset.collection import Triples
    from trainer.data import shards
    from trainer.sample import generate as drawing
    from trainer.sample import requests
    from trainer.settings import GenerateSettings

    chosen = arguments.settings(GenerateSettings, settings)
    DrawSettings(prompt=prompt, overwrite=overwrite)  # checks them
    folder = arguments.path(output, "output")
    if isinstance(maps, Triples) and not isinstance(maps, Dataset):
        drawn = requests.of_triples(maps, prompt)
    else:
        drawn = requests.find(shards.of_text(maps) if isinstance(maps, str) else arguments.folder(maps, "maps"), prompt)
    return drawing.generate(drawn, folder, chosen, progress, overwrite)


def evaluate(
    controlnets: "PathOrStr | Outcome | Sequence[PathOrStr | Outcome]",
    dataset: "PathOrStr | Dataset",
    *,
    output: PathOrStr = "evaluation",
    progress: Progress = silent,
    **settings: Any,
) -> "Evaluation":
    """Measure how well pictures of ControlNets agree with their control maps, as a segmenter sees them.

    Args:
        controlnets: one or several: runs, files, folders or hub ids. Several are compared paired.
        dataset: the dataset or its folder, whose held-out maps are drawn.
        output: the folder of pictures, report and tables. Pictures that were drawn and judged before are kept.
        progress: see segkit.progress.
        settings: fields of trainer.evaluate.settings.EvaluateSettings, such as judge="toy", limit=100 or count=4; and
            of segkit.build.settings.EngineSettings, such as engine="ray".

    Returns:
        All scores with intervals, and the `verdict`; `miou` is that of the first ControlNet. `results.quality` has
        KID or FID, the CLIP score and diversity, as far as features=, clip= and count= allow.

    Raises:
        UsageError: a setting is unknown or out of range, a ControlNet knows other colours, or the output folder
            contains something else.
        DatasetError: the dataset is damaged.
        MapError: a map is off the palette.
        ModelError: a network is missing, damaged or of another kind.
        LockedError: another process is writing the output folder.
        TrainingError: the GPU's memory is too small.
        EngineError: Ray is missing, or its cluster fails; finished pictures are kept.
    """
    from segkit.build.settings import EngineSettings
    from trainer.evaluate import evaluation, presets
    from trainer.evaluate.settings import EvaluateSettings

    engine = {name: settings.pop(name) for name in EngineSettings.__dataclass_fields__ if name in settings}
    execution = evaluation.Execution(arguments.settings(EngineSettings, engine))
    chosen = arguments.settings(EvaluateSettings, presets.complete(settings))
    is_list = isinstance(controlnets, Sequence) and not isinstance(controlnets, str)
    listed: Any = controlnets if is_list else [controlnets]
    names = [arguments.path_or_name(one, "controlnets") for one in listed]
    return evaluation.evaluate(
        names, arguments.folder(dataset), arguments.path(output, "output"), chosen, progress, execution
    )
