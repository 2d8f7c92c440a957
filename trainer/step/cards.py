"""What each process of a training brings, and the refusal of what differs."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from importlib import metadata
from typing import Any

from segkit.errors import UsageError
from segkit.words import listed
from trainer.settings import TrainSettings

_LIBRARIES = ("segkit", "torch", "accelerate", "diffusers", "transformers", "numpy", "pillow")
"""Libraries that shape a step, or how processes talk to each other."""

_OF_EACH = frozenset({"device", "cpu"})
"""Settings that may differ between processes."""


def card(settings: TrainSettings, world_size: int, device: str, precision: str) -> dict[str, str]:
    """Return what must be the same in all processes, by name.

    Args:
        settings: of the training.
        world_size: number of processes, as the launcher told this one.
        device: its type, such as "cuda".
        precision: of the arithmetic.
    """
    options = {name: repr(value) for name, value in asdict(settings).items() if name not in _OF_EACH}
    machine = {"number of processes": str(world_size), "device": device, "precision": precision}
    return {**options, **machine, **{name: _version(name) for name in _LIBRARIES}}


def _version(library: str) -> str:
    with suppress(metadata.PackageNotFoundError):
        return metadata.version(library)
    return "not installed"


def require_equal(cards: Mapping[int, Mapping[str, Any]], cure: str) -> None:
    """Refuse values that differ from those of process 0.

    Args:
        cards: "host" and "values" by name, of process 0 and of others by their rank.
        cure: what to do about a difference, as a sentence.

    Raises:
        UsageError: the first process that differs is named, with its values and those of process 0.
    """
    first = cards[0]["values"]
    for rank, card in sorted(cards.items()):
        values = card["values"]
        differences = [
            f"{name} {values.get(name)} instead of {first.get(name)}"
            for name in {**first, **values}
            if values.get(name) != first.get(name)
        ]
        if differences:
            raise UsageError(
                f"Process {rank} on {card['host']} differs from process 0 on {cards[0]['host']}: "
                f"{listed(differences)}. {cure}"
            )
