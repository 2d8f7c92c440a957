"""Palettes, control maps and datasets are checked, and control maps are repaired."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from segkit.api import arguments
from segkit.api.arguments import PathOrStr
from segkit.errors import MapError
from segkit.progress import Progress, silent
from segkit.settings import Cause, Check, CheckSettings, PaletteSettings, SnapSettings, Unsure

if TYPE_CHECKING:
    from PIL import Image

    from segkit.dataset import Dataset
    from segkit.dataset.checks import CheckReport
    from segkit.maps.snap import Snapped
    from segkit.reports.findings import PaletteReport


def check_palette(
    target: PathOrStr | None = None,
    *,
    min_distance: float = 10.0,
    against: Sequence[str] = ("ade20k", "coco_panoptic"),
    palette: PathOrStr = "ade20k",
    suggest: int = 0,
    progress: Progress = silent,
) -> "PaletteReport":
    """Find colours that could be confused, in a palette table, and wrong colours in control maps.

    Args:
        target: a palette table, a control map, a folder of maps, a dataset, a WebDataset shard (.tar), an imagefolder
            or a shipped palette's name; None for ADE20K itself.
        min_distance: RGB L2, 0 to 442; closer colours of a table are reported.
        against: palettes or tables whose colours must not be confused with the table's.
        palette: what maps should be painted with: a shipped palette's name or a table.
        suggest: how many colours to suggest for new classes.
        progress: see segkit.progress.

    Returns:
        The report; its `findings` are Problems, those with severity "known" are quirks of the shipped palettes.

    Raises:
        PaletteError: the target or a palette is invalid.
        DatasetError: the target is a damaged dataset.
        SettingError: a setting has the wrong type or is out of range.
    """
    from segkit.reports import findings

    settings = {"min_distance": min_distance, "against": against, "palette": palette, "suggest": suggest}
    chosen = arguments.settings(PaletteSettings, settings)
    name = None if target is None else arguments.path_or_name(target, "target")
    report = findings.examine(name, chosen.min_distance, progress, chosen.against, chosen.palette)
    return findings.with_suggestions(report, chosen.suggest)


def snap(
    control_map: "PathOrStr | Image.Image",
    *,
    palette: PathOrStr = "ade20k",
    to: PathOrStr = "",
    cause: Cause = "",
    unsure: Unsure = "nearest",
    first_id: int | None = None,
) -> "Snapped":
    """Repair a control map from another tool: wrong palettes, JPEG, smooth scaling, white outlines.

    Args:
        control_map: the map, as a file or as a picture.
        palette: what the map should be painted with: a shipped palette's name or a table.
        to: the palette whose classes a foreign palette's classes become, by name; "" keeps the map's own.
        cause: what is wrong, if known, such as "jpeg" or "label-ids"; "" to diagnose it.
        unsure: "nearest" gives undecidable pixels the best class, "unlabelled" none.
        first_id: value of the first class in a map of class indices, 0 or 1; None decides by the map.

    Returns:
        The repaired `labels`, the palette that they index, the diagnosis, and the shares of changed and doubtful
        pixels.

    Raises:
        SettingError: a setting has the wrong type or is no such choice.
        MapError: the map cannot be read or repaired.
        PaletteError: a palette is invalid.
    """
    from PIL import Image

    from segkit import maps
    from segkit.maps import snap as repair
    from segkit.palette import Palette

    name = "the map" if isinstance(control_map, Image.Image) else arguments.path(control_map, "control_map")
    chosen = arguments.settings(
        SnapSettings, {"palette": palette, "to": to, "cause": cause, "unsure": unsure, "first_id": first_id}
    )
    target = Palette.load(chosen.to) if chosen.to else None
    try:
        source = control_map if isinstance(control_map, Image.Image) else maps.read_file(Path(control_map))
        painted_with = Palette.load(chosen.palette)
        return repair.snap(
            source,
            painted_with,
            target_palette=target,
            cause=chosen.cause,
            unsure=chosen.unsure,
            first_id=chosen.first_id,
        )
    except MapError as error:  # its text begins with a verb
        raise MapError(f"{name} {error}") from None


def check(
    dataset: "PathOrStr | Dataset",
    *,
    tokenizer: PathOrStr = "",
    palette: PathOrStr = "",
    check: Check = "full",
    progress: Progress = silent,
    **engine: Any,
) -> "CheckReport":
    """Run every rule over a dataset: files, sizes, classes, colours, prompts, duplicates, splits, stray files.

    Args:
        dataset: the dataset or its folder.
        tokenizer: folder of CLIP's tokenizer, to count prompts again; "" uses the recorded lengths.
        palette: a table that the dataset must be painted with; "" accepts any that its protocol allows.
        check: which photos and maps are read: "full" all, "fast" those that are new or have another size or time than
            when they were checked last, "none" none.
        progress: see segkit.progress.
        engine: fields of segkit.build.settings.EngineSettings, such as engine="ray".

    Returns:
        The report; its `problems` are sorted, errors first.

    Raises:
        SettingError: a setting is neither text nor a path.
        DatasetError: the folder is not a dataset.
        EngineError: Ray is missing, or its cluster fails.
    """
    from segkit.build.engines import checking
    from segkit.build.settings import EngineSettings
    from segkit.dataset import checks
    from segkit.palette import Palette

    chosen = arguments.settings(CheckSettings, {"tokenizer": tokenizer, "palette": palette, "check": check})
    count = None
    if chosen.tokenizer:
        from segkit.models import tokens

        count = tokens.counter(chosen.tokenizer).count
    table = Palette.load(chosen.palette) if chosen.palette else None
    opened = arguments.open_dataset(dataset)
    with checking.examiner(opened, arguments.settings(EngineSettings, engine), progress) as examine:
        return checks.check(opened, count, progress, table, checks.Scope(chosen.check, examine=examine))
