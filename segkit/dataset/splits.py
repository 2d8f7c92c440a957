"""Train, val and test: drawn by group, so that no photo is held out while its near-duplicate is trained on."""

import hashlib

from msgspec.structs import replace

from segkit.dataset.dataset import Dataset
from segkit.dataset.triple import SPLITS
from segkit.errors import UsageError


def shares(text: str) -> dict[str, float]:
    """Read held-out shares such as "val=0.1,test=0.05".

    Raises:
        UsageError: an unknown split, no number, or shares that leave nothing to train on.
    """
    found: dict[str, float] = {}
    for part in filter(None, text.split(",")):
        name, _, share = part.strip().partition("=")
        try:
            value = float(share)
        except ValueError:
            value = -1.0
        if name not in SPLITS[1:] or not 0 <= value < 1 or name in found:
            raise UsageError(f"--split {text}: {part!r} is unclear. Expected val=0.1 or val=0.1,test=0.05.")
        found[name] = value
    if sum(found.values()) >= 1:
        raise UsageError(f"--split {text}: nothing would be left to train on.")
    return found


def assign(group: str, held_out: dict[str, float]) -> str:
    """Draw the split of a group from its name alone: adding photos never moves others.

    Args:
        group: a key.
        held_out: share of each held-out split, 0 to 1; small datasets only come near it.
    """
    drawn = int.from_bytes(hashlib.sha256(b"split " + group.encode()).digest()[:8]) / 2**64
    for name in SPLITS[1:]:
        drawn -= held_out.get(name, 0.0)
        if drawn < 0:
            return name
    return SPLITS[0]


def apply(dataset: Dataset, text: str) -> None:
    """Draw the splits of all triples anew if other shares are asked for than the recorded ones. Needs the lock."""
    if not text or text == dataset.info.settings.get("split"):
        return
    held_out = shares(text)
    dataset.replace_all([replace(t, split=assign(t.group, held_out)) for t in dataset.triples()])
    dataset.save_info(replace(dataset.info, settings={**dataset.info.settings, "split": text}))
