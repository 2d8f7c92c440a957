"""Statistics of a dataset."""

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

from segkit.dataset import splits
from segkit.dataset.dataset import Dataset

LENGTHS = ("none", "1-20", "21-40", "41-60", "61-77", "over 77")
"""Bins of prompt length in CLIP tokens."""

_UPPER_BOUNDS = (20, 40, 60, 77)


@dataclass(frozen=True)
class Summary:
    """Statistics of a dataset.

    Attributes:
        triples: number of triples, without those that a person left out.
        left_out: number of those.
        classes: class name to share of all pixels, 0 to 1, largest first; the remainder is unlabelled.
        lengths: number of prompts per bin of `LENGTHS`, empty bins left out.
        splits: number of triples per split.
        flags: number of prompts per flag (see `prompts.FLAGS`).
        rejected: number of photos left out, by reason.
        tokens_estimated: whether token counts are estimates because CLIP's tokenizer was unavailable.
        requested: requested share per held-out split, 0 to 1; see splits.sentence.
    """

    triples: int
    classes: dict[str, float]
    lengths: dict[str, int]
    splits: dict[str, int]
    flags: dict[str, int]
    rejected: dict[str, int]
    tokens_estimated: bool
    requested: dict[str, float] = field(default_factory=dict)
    left_out: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return the statistics as JSON-compatible values."""
        return asdict(self)


def summarize(dataset: Dataset) -> Summary:
    """Compute the statistics from the manifest in one pass; no picture is opened.

    Raises:
        DatasetError: a line of the manifest is damaged.
    """
    pixels: Counter[str] = Counter()
    lengths: Counter[str] = Counter()
    by_split: Counter[str] = Counter()
    flags: Counter[str] = Counter()
    total = area = 0
    left_out = 0
    for triple in dataset.triples():
        if triple.review == "rejected":
            left_out += 1
            continue
        total += 1
        size = triple.width * triple.height
        area += size
        for share in triple.classes:
            pixels[share.name] += round(share.share * size)
        lengths[_length(triple.tokens)] += 1
        by_split[triple.split] += 1
        flags.update(triple.problems)
    return Summary(
        triples=total,
        left_out=left_out,
        classes={name: round(count / max(area, 1), 4) for name, count in pixels.most_common()},
        lengths={name: lengths[name] for name in LENGTHS if lengths[name]},
        splits=dict(by_split.most_common()),
        requested=splits.shares(dataset.info.settings.get("split", "")),
        flags=dict(flags.most_common()),
        rejected=dict(Counter(rejection.reason for rejection in dataset.rejections()).most_common()),
        tokens_estimated=dataset.info.models.get("tokenizer", {}).get("name") == "estimate",
    )


def _length(tokens: int) -> str:
    if tokens == 0:
        return LENGTHS[0]
    bins = zip(_UPPER_BOUNDS, LENGTHS[1:-1], strict=True)
    return next((name for bound, name in bins if tokens <= bound), LENGTHS[-1])
