"""Train, val and test splits, assigned by group so that near-duplicates never end up in different splits."""

import hashlib

from msgspec.structs import replace

from segkit.dataset.dataset import Dataset
from segkit.dataset.triple import SPLITS
from segkit.errors import SettingError


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


def assign(group: str, held_out: dict[str, float]) -> str:
    """Return the split of a group.

    The split depends only on the group's name, so adding photos never moves others, and a larger share of a split
    only adds groups to it if the splits before it keep theirs.

    Args:
        group: key of the group's first photo.
        held_out: share of each held-out split, 0 to 1. Small datasets only approximate it.
    """
    # A hash of the name, read as a number in [0, 1), falls into one of the consecutive ranges val, test, train.
    position = int.from_bytes(hashlib.sha256(b"split " + group.encode()).digest()[:8]) / 2**64
    for name in SPLITS[1:]:
        position -= held_out.get(name, 0.0)
        if position < 0:
            return name
    return SPLITS[0]


def apply(dataset: Dataset, text: str) -> None:
    """Reassign all triples if the shares differ from the recorded ones. The caller must hold the dataset's lock.

    Args:
        dataset: the dataset.
        text: shares, as for `shares`; "" keeps the recorded ones.

    Raises:
        UsageError: the shares are not valid.
    """
    if not text or text == dataset.info.settings.get("split"):
        return
    held_out = shares(text)
    dataset.replace_all([replace(t, split=assign(t.group, held_out)) for t in dataset.triples()])
    dataset.save_info(replace(dataset.info, settings={**dataset.info.settings, "split": text}))
