"""The model card says what the network was trained from, and whether it was found to obey its maps."""

from typing import Any

import pytest

from trainer.checkpoints import export
from trainer.run import validation

FACTS: dict[str, Any] = {"base": "deliberate", "controlnet": "fresh", "steps": 500}


def card(caveat: str = "", **facts: Any) -> str:
    """Return the model card of a run."""
    return export._card("rooms", "rooms.safetensors", FACTS | facts, caveat)


@pytest.mark.parametrize(
    ("log", "caveat"),
    [
        ([], "Whether this network obeys its control maps was not measured."),
        ([{"step": 2, "control_gap": 0.3, "control_gap_error": 0.01}], ""),
        (
            [
                {"step": 2, "control_gap": 0.3, "control_gap_error": 0.01},
                {"step": 4, "control_gap": 0.01, "control_gap_error": 0.01},
                {"step": 5},
            ],
            "This network was not found to obey its control maps: the network does not use the map yet: control gap "
            "0.01000 ± 0.01000, not significant.",
        ),
        (
            [{"step": 2, "held_out_loss": 0.4, "control_gap": 4.5e-08, "control_gap_error": 1e-09}],
            "This network was not found to obey its control maps: the network does not use the map yet: control gap "
            "4.5e-08 ± 1.0e-09, no more than rounding.",
        ),
    ],
    ids=["not measured", "above chance", "not above chance", "rounding"],
)
def test_the_last_control_gap_decides(log: list[dict[str, float]], caveat: str) -> None:
    """A gap within two standard errors or rounding of zero, or none, is said in bold; else the card claims control."""
    assert validation.caveat(log) == caveat
    text = card(caveat)
    assert ("that obeys segmentation maps" in text) == (not caveat)
    assert (f"**{caveat}**" in text) == bool(caveat)


def test_the_licence_speaks_of_the_base_and_the_controlnet_it_had() -> None:
    """Another base's licence is not mentioned, nor a ControlNet where training began with a fresh one."""
    fresh, released = card(), card(controlnet="control_v11p_sd15_seg.pth")
    limited, toy, large = (card(base=name) for name in ("dreamlike-photoreal-2.0", "toy", "toy-sdxl"))

    assert "A derivative of its base (deliberate): its licence applies.\n" in fresh
    assert "and of the ControlNet it started from (control_v11p_sd15_seg.pth): their licences apply.\n" in released
    assert "dreamlike" not in fresh + released + toy + large
    assert "dreamlike-photoreal-2.0 limits commercial use of derivatives." in limited
    assert "base toy, which draws the toy world only." in toy
    assert "base toy-sdxl, which draws the toy world only." in large
    assert "licences apply" in export.metadata({})["licence"]
