"""Settings of evaluate, each declared once."""

from dataclasses import dataclass
from typing import Annotated, Literal

from segkit.schema import option
from trainer.evaluate import presets
from trainer.settings import JUDGE, DrawingSettings


@dataclass(frozen=True, kw_only=True)
class EvaluateSettings(DrawingSettings):
    """What is drawn, and who judges it.

    Raises:
        UsageError: a value is outside its range, or two settings contradict each other.
    """

    preset: Annotated[
        presets.PresetName,
        option("Protocol of published figures: it fixes how pictures are drawn and judged. See docs/evaluate.md."),
    ] = ""
    judge: Annotated[
        str,
        option(
            "Segmenter that looks at the pictures, as for build-dataset: one that neither drew the maps nor was "
            "trained against.",
            min_length=1,
        ),
    ] = JUDGE
    judge_size: Annotated[
        int, option("Shorter side to which the judge scales pictures.  [default: its own]", ge=0, le=4096)
    ] = 0
    features: Annotated[
        str,
        option(
            "Network for KID and FID: a file with the weights of FID's Inception, or a vision model's folder or hub id."
        ),
    ] = ""
    clip: Annotated[str, option("CLIP for the CLIP score: a folder or hub id.")] = ""
    distance: Annotated[
        Literal["auto", "kid", "fid", "both"], option("Distance from the photos; auto: KID, FID from 2,000 maps on.")
    ] = "auto"
    split: Annotated[
        Literal["", "train", "val", "test", "all"],
        option("Triples to draw.  [default: those of val, or all if none are held out]"),
    ] = ""
    limit: Annotated[int, option("Most maps to draw, always the same ones of a dataset; 0: all.", ge=0)] = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        presets.require_consistent(self)
