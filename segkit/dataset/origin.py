"""Where a triple came from, if its control map was not drawn by the dataset's segmenter."""

from typing import Annotated

from msgspec import Meta, Struct


class Origin(Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """The source of an imported triple, and what became of its map.

    Attributes:
        layout: where the triple was imported from, such as "ade20k", "kohya" or "segkit"; "" for a photo that was
            built here. No build prunes an imported triple, or has its map drawn again.
        map_sha256: of the map's file in the source; "" if there was none, so that a segmenter drew it.
        cause: what the map was: a key of maps.diagnose.CAUSES, such as "exact" or "jpeg"; "" if a segmenter drew it.
        changed: share of the source's pixels whose colour the repair changed, 0 to 1.
        doubtful: share of the source's pixels whose class was in doubt, 0 to 1.
    """

    layout: str = ""
    map_sha256: str = ""
    cause: str = ""
    changed: Annotated[float, Meta(ge=0, le=1)] = 0.0
    doubtful: Annotated[float, Meta(ge=0, le=1)] = 0.0


BUILT = Origin()
