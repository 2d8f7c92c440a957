"""Train, val and test splits, drawn by group so that near-duplicates never end up in different splits."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from segkit.dataset.dataset import Dataset
from segkit.dataset.triple import SPLITS, UNDRAWN, Triple
from segkit.errors import SettingError

WINDOW = 1000
"""The last photos of a split, whose groups are chosen jointly to meet the share; groups before are taken in order, so
that the time is linear."""

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


class _Member(Struct, frozen=True, gc=False):
    """What the draw needs to know of a triple; see Triple."""

    group: str
    split: str
    drawn: str


def is_by_hand(triple: Triple | _Member) -> bool:
    """Return whether a person changed a triple's split in the manifest; for triples of `with_draw`."""
    return triple.drawn != UNDRAWN and triple.split != triple.drawn


class _Group(Struct, frozen=True, gc=False):
    """Photos that stay together.

    Attributes:
        name: key of the first of them.
        size: how many they are.
        split: the split that they keep; "" if it is to be drawn.
        former: the split that they were in before; "" if it was not drawn yet.
    """

    name: str
    size: int
    split: str
    former: str


def draw(triples: Sequence[Triple | _Member], held_out: dict[str, float], redraw: bool) -> list[str]:
    """Return the split of each triple.

    Each held-out split gets the number of photos that is nearest to its share of all photos and that whole groups
    allow. Groups are chosen in the order of a hash of their names, and one group always remains to train on.

    Args:
        triples: all triples of a dataset, from `with_draw`.
        held_out: share of each held-out split, 0 to 1.
        redraw: draw all groups again, those in a split first, so that a larger share only adds to it. Otherwise only
            groups without a split are drawn: all others keep theirs. Splits set by hand are kept in both cases.
    """
    groups = _groups(triples, redraw)
    chosen = {group.name: group.split for group in groups if group.split}
    for name in SPLITS[1:]:
        present = sum(group.size for group in groups if chosen.get(group.name) == name)
        free = sorted(
            (group for group in groups if group.name not in chosen),
            key=lambda group: (group.former != name, position(group.name)),
        )
        most = sum(group.size for group in free) - (SPLITS[0] not in chosen.values())
        target = held_out.get(name, 0.0) * len(triples) - present
        chosen.update((group.name, name) for group in _nearest(free, target, most))

    def split(triple: Triple | _Member) -> str:
        keeps = is_by_hand(triple) or (triple.drawn != UNDRAWN and not redraw)
        return triple.split if keeps else chosen.get(triple.group, SPLITS[0])

    return list(map(split, triples))


def _groups(triples: Sequence[Triple | _Member], redraw: bool) -> list[_Group]:
    sizes = Counter(triple.group for triple in triples)
    by_hand = {triple.group: triple.split for triple in triples if is_by_hand(triple)}
    former = {triple.group: triple.split for triple in triples if triple.drawn != UNDRAWN} | by_hand
    kept = by_hand if redraw else former
    return [_Group(name, size, kept.get(name, ""), former.get(name, "")) for name, size in sizes.items()]


def _nearest(groups: Sequence[_Group], target: float, most: int) -> list[_Group]:
    """Choose groups whose photos add up to the number nearest to a target, early ones first; of equals the larger.

    Args:
        groups: what to choose from.
        target: the number aimed at; below 0 nothing is chosen.
        most: the highest number allowed.
    """
    taken: list[_Group] = []
    total = 0
    while len(taken) < len(groups) and total + groups[len(taken)].size <= min(target, most) - WINDOW:
        total += groups[len(taken)].size
        taken.append(groups[len(taken)])
    choices = groups[len(taken) : len(taken) + CHOICES]
    rest, highest = max(target - total, 0), max(most - total, 0)
    mask = (1 << min(int(2 * rest), highest) + 1) - 1  # above twice the rest, none at all would be nearer
    reachable = [1]  # bit n of entry k is set if some of the first k groups add up to n photos
    for group in choices:
        reachable.append((reachable[-1] | reachable[-1] << group.size) & mask)
    sums = [number for number in range(mask.bit_length()) if reachable[-1] >> number & 1]
    best = min(sums, key=lambda number: (abs(number - rest), -number))
    for place in reversed(range(len(choices))):
        if not reachable[place] >> best & 1:
            taken.append(choices[place])
            best -= choices[place].size
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
    members = [_Member(drawn.group, drawn.split, drawn.drawn) for drawn in _drawn(dataset, recorded)]
    pending = any(member.drawn == UNDRAWN for member in members)
    if redraw or pending:
        chosen = zip(_drawn(dataset, recorded), draw(members, shares(text), redraw), strict=True)
        dataset.replace_all(
            # a split set by hand is recognised by its difference from the drawn one, which therefore stays
            triple if is_by_hand(triple) else replace(triple, split=split, drawn=split)
            for triple, split in chosen
        )
    if redraw:
        dataset.save_info(replace(dataset.info, settings={**dataset.info.settings, "split": text}))
    return redraw or pending


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
