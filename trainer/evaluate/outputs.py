"""Files of an evaluation that programs read: evaluation.json, per-class.csv and per-map.csv."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from segkit import storage
from segkit.maps.bootstrap import Estimate
from segkit.palette import Palette
from trainer.evaluate.scores import METRICS, Results

RECORD, PER_CLASS, PER_MAP = "evaluation.json", "per-class.csv", "per-map.csv"


def scores_json(results: Results) -> dict[str, Any]:
    """Return scores and differences as JSON values, those of single maps left out."""
    return {
        "scores": [
            {"name": score.name, "kind": score.kind, "metrics": _plain(score.metrics), "classes": _plain(score.classes)}
            for score in results.scores
        ],
        "differences": [
            {"first": one.first, "second": one.second, "metrics": _plain(one.metrics)} for one in results.differences
        ],
        "support": {name: asdict(support) for name, support in results.support.items()},
        "quality": results.quality.to_json(),
    }


def _plain(estimates: Mapping[str, Estimate]) -> dict[str, dict[str, float]]:
    return {name: asdict(estimate) for name, estimate in estimates.items()}


def write(folder: Path, record: dict[str, Any], results: Results, keys: Sequence[str], palette: Palette) -> None:
    """Write the tables, and the record last.

    Args:
        folder: of the evaluation.
        record: the content of evaluation.json.
        results: the scores.
        keys: names of the maps, in the order of the scores.
        palette: of the maps.

    Raises:
        StorageError: the disk is full.
    """
    import pandas as pd

    indices = {swatch.name: swatch.index for swatch in palette}
    classes = [
        {"class": name, "index": indices[name], "maps": support.maps, "share": support.share, "pictures": score.name}
        | {"iou": (iou := score.classes[name]).value, "low": iou.low, "high": iou.high}
        for name, support in results.support.items()
        for score in results.scores
    ]
    quality = {score.name: score.per_map for score in results.quality.scores}
    maps = [
        {"map": key, "pictures": score.name} | {name: score.per_map[name][place] for name in METRICS}
        | {name: values[place] for name, values in quality.get(score.name, {}).items()}
        for place, key in enumerate(keys)
        for score in results.scores
    ]  # fmt: skip
    for name, rows in ((PER_CLASS, classes), (PER_MAP, maps)):
        storage.write(folder / name, pd.DataFrame(rows).to_csv(index=False, lineterminator="\n").encode())
    storage.write(folder / RECORD, (json.dumps(record, indent=2, allow_nan=False) + "\n").encode())
