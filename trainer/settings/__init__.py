"""Settings of training, sampling and generation, each declared once; and run.toml."""

from trainer.settings.drawing import DrawingSettings, GenerateSettings, Lora, SampleSettings
from trainer.settings.networks import FRESH, JUDGE, SD15, SEG, UNION_MODE, require_mode_of_union
from trainer.settings.run_file import read, to_toml
from trainer.settings.training import TrainSettings

__all__ = [
    "FRESH",
    "JUDGE",
    "SD15",
    "SEG",
    "UNION_MODE",
    "DrawingSettings",
    "GenerateSettings",
    "Lora",
    "SampleSettings",
    "TrainSettings",
    "read",
    "require_mode_of_union",
    "to_toml",
]
