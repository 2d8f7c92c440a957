"""Train, val and test splits, drawn by group so that near-duplicates never end up in different splits."""

import hashlib
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from segkit.dataset.dataset import Dataset
from segkit.dataset.triple import SPLITS, UNDRAWN, Triple
from segkit.errors import SettingError

WINDOW = 1000
"""The last photos of a split, whose groups are chosen jointly to meet the share; groups before are taken in order, so
that the time is linear."""

_UNKNOWN = -2
"""In place of a place in SPLITS."""

CHOICES = 2000
"""Groups among which the last ones are chosen."""


def shares(text: str) -> dict[str, float]:
    """Parse held-out shares such as "val=0.1,test=0.05".

    Returns:
        Split name to share, 0 to 1 exclusive.

    Raises:
        SettingError: an unknown or repeated split, an invalid share, or shares that add up to 1 or more.
    """
    held_out: dict[str, float] = {}
    for part in filter(None, text.split(",")):
        name, _, share = part.strip().partition("=")
        try:
            value = float(share)
        except ValueError:
            value = -1.0  # rejected below, together with shares out of range
        if name not in SPLITS[1:] or not 0 <= value < 1 or name in held_out:
            raise SettingError("split", text, f"val=0.1 or val=0.1,test=0.05, not {part!r}")
        held_out[name] = value
    if sum(held_out.values()) >= 1:
        raise SettingError("split", text, "shares with a sum below 1, so that something is left to train on")
    return held_out


def position(group: str) -> float:
    """Return a group's place in the draw, 0 to 1: a hash of its name, so it is the same on every machine."""
    return int.from_bytes(hashlib.sha256(b"split " + group.encode()).digest()[:8]) / 2**64


def with_draw(triple: Triple, recorded: dict[str, float]) -> Triple:
    """Return the triple with the split that segkit drew for it, which differs from its split if a person changed that.

    Args:
        triple: the triple.
        recorded: the shares that the dataset was last drawn with. Earlier versions did not record the draw, but drew
            each group on its own: its position fell into one of the consecutive ranges val, test, train.
    """
    if triple.drawn:
        return triple
    place, drawn = position(triple.group), SPLITS[0]
    for name in reversed(SPLITS[1:]):
        if place < sum(recorded.get(earlier, 0.0) for earlier in SPLITS[1 : SPLITS.index(name) + 1]):
            drawn = name
    return replace(triple, drawn=drawn)


def is_by_hand(triple: Triple) -> bool:
    """Return whether a person changed a triple's split in the manifest; for triples of `with_draw`."""
    return triple.drawn != UNDRAWN and triple.split != triple.drawn


@dataclass(frozen=True)
class Members:
    """What the draw needs to know of triples: 10 bytes each, so that a million fit.

    Attributes:
        groups: (N,) uint64, the key of each triple's group.
        splits, drawn: (N,) int8, places in SPLITS of the recorded and of the drawn split; -1 for one that is not drawn
            yet, or unknown.
    """

    groups: NDArray[np.uint64]
    splits: NDArray[np.int8]
    drawn: NDArray[np.int8]

    @classmethod
    def of(cls, triples: Iterable[Triple]) -> Self:
        """Read triples, from `with_draw`."""
        groups, splits, drawn = array("Q"), array("b"), array("b")
        places = {name: place for place, name in enumerate(SPLITS)}
        for triple in triples:
            groups.append(group_number(triple.group))
            splits.append(places.get(triple.split, _UNKNOWN))
            drawn.append(places.get(triple.drawn, _UNKNOWN) if triple.drawn != UNDRAWN else -1)
        return cls(np.asarray(groups, np.uint64), np.asarray(splits, np.int8), np.asarray(drawn, np.int8))


def group_number(group: str) -> int:
    """Return the number that a key of 16 hex digits writes; for any other text that somebody typed, a hash."""
    with suppress(ValueError):
        if len(group) == 16:
            return int(group, 16)
    return int.from_bytes(hashlib.sha256(group.encode()).digest()[:8])


def draw(members: Members, held_out: dict[str, float], redraw: bool) -> NDArray[np.int8]:
    """Return the split of each triple, as a place in SPLITS; -2 leaves it as it is.

    Each held-out split gets the number of photos that is nearest to its share of all photos and that whole groups
    allow. Groups are chosen in the order of a hash of their names, and one group always remains to train on.

    Args:
        members: all triples of a dataset.
        held_out: share of each held-out split, 0 to 1.
        redraw: draw all groups again, those in a split first, so that a larger share only adds to it. Otherwise only
            groups without a split are drawn: all others keep theirs. Splits set by hand are kept in both cases.
    """
    names, groups, sizes = np.unique(members.groups, return_inverse=True, return_counts=True)
    is_drawn = members.drawn != -1
    by_hand = is_drawn & (members.splits != members.drawn)
    former, chosen = np.full(len(names), -1, np.int8), np.full(len(names), -1, np.int8)
    for mask in (is_drawn, by_hand):  # of a group with several, that of the last photo, by hand before drawn
        former[groups[mask]] = members.splits[mask]
    kept = by_hand if redraw else is_drawn
    chosen[groups[kept]] = former[groups[kept]]
    positions = np.fromiter((position(f"{name:016x}") for name in names.tolist()), np.float64, len(names))
    for code, name in enumerate(SPLITS[1:], 1):
        present = int(sizes[chosen == code].sum())
        free = np.flatnonzero(chosen == -1)
        free = free[np.lexsort((positions[free], former[free] != code))]
        most = int(sizes[free].sum()) - (not (chosen == 0).any())
        target = held_out.get(name, 0.0) * len(members.groups) - present
        chosen[free[_nearest(sizes[free].tolist(), target, most)]] = code
    chosen[chosen == -1] = 0
    return np.where(by_hand | (is_drawn & (not redraw)), np.int8(_UNKNOWN), chosen[groups])


def _nearest(sizes: Sequence[int], target: float, most: int) -> list[int]:
    """Choose groups whose photos add up to the number nearest to a target, early ones first; of equals the larger.

    Args:
        sizes: numbers of photos of the groups to choose from.
        target: the number aimed at; below 0 nothing is chosen.
        most: the highest number allowed.

    Returns:
        The places of the chosen groups.
    """
    taken: list[int] = []
    total = 0
    while len(taken) < len(sizes) and total + sizes[len(taken)] <= min(target, most) - WINDOW:
        total += sizes[len(taken)]
        taken.append(len(taken))
    start = len(taken)
    choices = sizes[start : start + CHOICES]
    rest, highest = max(target - total, 0), max(most - total, 0)
    mask = (1 << min(int(2 * rest), highest) + 1) - 1  # above twice the rest, none at all would be nearer
    reachable = [1]  # bit n of entry k is set if some of the first k groups add up to n photos
    for size in choices:
        reachable.append((reachable[-1] | reachable[-1] << size) & mask)
    sums = [number for number in range(mask.bit_length()) if reachable[-1] >> number & 1]
    best = min(sums, key=lambda number: (abs(number - rest), -number))
    for place in reversed(range(len(choices))):
        if not reachable[place] >> best & 1:
            taken.append(start + place)
            best -= choices[place]
    return taken


def apply(dataset: Dataset, text: str) -> bool:
    """Draw the splits of new triples, or of all if the shares changed. The caller must hold the dataset's lock.

    Args:
        dataset: the dataset.
        text: shares, as for `shares`; "" keeps the recorded ones.

    Returns:
        Whether anything was drawn.

    Raises:
        UsageError: the shares are not valid.
    """
    before = dataset.info.settings.get("split", "")
    text = text or before
    redraw, recorded = text != before, shares(before)
    members = Members.of(_drawn(dataset, recorded))
    pending = bool((members.drawn == -1).any())
    if redraw or pending:
        chosen = zip(_drawn(dataset, recorded), draw(members, shares(text), redraw).tolist(), strict=True)
        dataset.replace_all(placed(triple, code) for triple, code in chosen)
    if redraw:
        dataset.save_info(replace(dataset.info, settings={**dataset.info.settings, "split": text}))
    return redraw or pending


def placed(triple: Triple, code: int) -> Triple:
    """Return a triple with its new split, a value of `draw`."""
    if code != _UNKNOWN:
        return replace(triple, split=SPLITS[code], drawn=SPLITS[code])
    # a split set by hand is recognised by its difference from the drawn one, which therefore stays
    return triple if is_by_hand(triple) else replace(triple, drawn=triple.split)


def _drawn(dataset: Dataset, recorded: dict[str, float]) -> Iterator[Triple]:
    return (with_draw(triple, recorded) for triple in dataset.triples())


def sentence(counts: Mapping[str, int], held_out: Mapping[str, float]) -> str:
    """Return the number of triples of each split, with the real and the requested share where they differ.

    Args:
        counts: number of triples by split.
        held_out: the requested share by held-out split; without any, and without a held-out triple, the result is "".
    """
    total = sum(counts.values())
    names = [name for name in SPLITS[1:] if counts.get(name) or held_out.get(name)]
    if not names or not total:
        return ""
    parts = [f"{counts.get(SPLITS[0], 0):,} train"]
    for name in names:
        real, requested = counts.get(name, 0) / total, held_out.get(name, 0.0)
        requested_too = f", requested {requested:.1%}" if f"{real:.1%}" != f"{requested:.1%}" else ""
        parts.append(f"{counts.get(name, 0):,} {name} ({real:.1%}{requested_too})")
    empty = [name for name in names if not counts.get(name)]
    cure = f" None in {' and '.join(empty)}: no group comes nearer to its share; a larger one holds some out."
    return f"Splits: {', '.join(parts)}.{cure if empty else ''}"
