"""What a dataset holds, in numbers."""

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from segkit.dataset.dataset import Dataset

LENGTHS = ("none", "1-20", "21-40", "41-60", "61-77", "over 77")
"""How prompts are grouped by their CLIP tokens."""


@dataclass(frozen=True)
class Summary:
    """A dataset in numbers.

    Attributes:
        triples: how many.
        classes: name to share of all pixels, 0 to 1, largest first; the rest is unlabelled.
        lengths: number of prompts by length in tokens, in the order of LENGTHS.
        splits: number of triples by split.
        flags: number of prompts by what is wrong with them.
        rejected: number of photos left out, by reason.
        tokens_estimated: prompt lengths are estimates, since CLIP's tokenizer was not to be had.
    """

    triples: int
    classes: dict[str, float]
    lengths: dict[str, int]
    splits: dict[str, int]
    flags: dict[str, int]
    rejected: dict[str, int]
    tokens_estimated: bool

    def to_json(self) -> dict[str, Any]:
        """Return the numbers as plain values."""
        return asdict(self)


def summarize(dataset: Dataset) -> Summary:
    """Count a dataset, triple by triple."""
    pixels: Counter[str] = Counter()
    lengths: Counter[str] = Counter()
    splits: Counter[str] = Counter()
    flags: Counter[str] = Counter()
    total = area = 0
    for triple in dataset.triples():
        total += 1
        size = triple.width * triple.height
        area += size
        for share in triple.classes:
            pixels[share.name] += round(share.share * size)
        lengths[_length(triple.tokens)] += 1
        splits[triple.split] += 1
        flags.update(triple.problems)
    return Summary(
        triples=total,
        classes={name: round(count / max(area, 1), 4) for name, count in pixels.most_common()},
        lengths={name: lengths[name] for name in LENGTHS if lengths[name]},
        splits=dict(splits.most_common()),
        flags=dict(flags.most_common()),
        rejected=dict(Counter(found.reason for found in dataset.rejections()).most_common()),
        tokens_estimated=dataset.info.models.get("tokenizer", {}).get("name") == "estimate",
    )


def _length(tokens: int) -> str:
    if tokens == 0:
        return LENGTHS[0]
    return next(
        (name for limit, name in zip((20, 40, 60, 77), LENGTHS[1:], strict=False) if tokens <= limit), LENGTHS[-1]
    )
