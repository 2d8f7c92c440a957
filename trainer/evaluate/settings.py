"""Settings of evaluate, each declared once."""

from dataclasses import dataclass
from typing import Annotated, Literal

from segkit.schema import option
from trainer.settings import JUDGE, DrawingSettings


@dataclass(frozen=True, kw_only=True)
class EvaluateSettings(DrawingSettings):
    """What is drawn, and who judges it.

    Raises:
        UsageError: a value is outside its range, or two settings contradict each other.
    """

    judge: Annotated[
        str,
        option(
            "Segmenter that looks at the pictures, as for build-dataset: one that neither drew the maps nor was "
            "trained against.",
            min_length=1,
        ),
    ] = JUDGE
    split: Annotated[
        Literal["", "train", "val", "test", "all"],
        option("Triples to draw.  [default: those of val, or all if none are held out]"),
    ] = ""
    limit: Annotated[int, option("Most maps to draw, always the same ones of a dataset; 0: all.", ge=0)] = 0
