"""Presets: the settings by which published figures were measured, as far as they are published."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from segkit.errors import SettingError

if TYPE_CHECKING:
    from trainer.evaluate.settings import EvaluateSettings

PresetName = Literal["", "controlnet-plus-plus", "controlnet-paper"]

_SWIN_LARGE = {"embed_dim": 192, "depths": [2, 2, 18, 2]}


@dataclass(frozen=True)
class Preset:
    """How published figures were measured, as far as it is published.

    Attributes:
        values: settings that are fixed.
        architecture: what config.json of another judge must say.
        others: which other judges that admits, in words.
        maps: number of maps; 0 if it is not stated.
        caveat: why figures by this preset are not the published ones, as a sentence.
    """

    values: Mapping[str, Any]
    architecture: Mapping[str, Any]
    others: str
    maps: int
    caveat: str


PRESETS: dict[str, Preset] = {
    "controlnet-plus-plus": Preset(
        values={
            "resolution": 512, "count": 4, "scheduler": "unipc", "steps": 20, "guidance": 7.5, "guidance_end": 1.0,
            "negative": "worst quality, low quality", "strength": 1.0, "strengths": "", "control_start": 0.0,
            "control_end": 1.0, "judge": "mask2former-large", "judge_size": 640,
        },
        architecture={"model_type": "mask2former", "backbone_config": _SWIN_LARGE},
        others="another Mask2Former with Swin-L",
        maps=2000,
        caveat="The published figures used other captions, and pictures and maps distorted to squares.",
    ),
    "controlnet-paper": Preset(
        values={"judge": "oneformer-large"},
        architecture={"model_type": "oneformer"},
        others="any other OneFormer",
        maps=0,
        caveat="The paper names the judge, OneFormer, but not how pictures were drawn: that is a choice here.",
    ),
}  # fmt: skip
"""By name. ControlNet++: Li et al. 2024, arXiv 2404.07987, and its public scripts, eval/eval.py and eval_ade20k.sh.
ControlNet: Zhang et al. 2023, arXiv 2302.05543."""


def complete(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings that were chosen, completed by those of their preset.

    Args:
        values: settings by name, without those left at their defaults.
    """
    preset = PRESETS.get(str(values.get("preset", "")))
    return {**preset.values, **values} if preset else dict(values)


def require_consistent(settings: "EvaluateSettings") -> None:
    """Refuse settings that contradict their preset; the judge is checked later: see protocols.

    Raises:
        SettingError: one of them differs.
    """
    if not settings.preset:
        return
    if settings.lora:
        raise SettingError("lora", settings.lora[0], f"none, as the figures of preset={settings.preset} have none")
    for name, value in PRESETS[settings.preset].values.items():
        if name != "judge" and (chosen := getattr(settings, name)) != value:
            raise SettingError(
                name, chosen, f"{value!r}, as preset={settings.preset} fixes it; without a preset any value is possible"
            )
