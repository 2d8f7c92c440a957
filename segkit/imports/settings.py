"""The settings of import, declared once: a field is option, type, range, default and help."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from segkit.build.settings import MODEL_HELP, CaptionSettings
from segkit.errors import SettingError
from segkit.schema import option
from segkit.settings import Cause

if TYPE_CHECKING:
    from segkit.build.settings import BuildSettings

Repair = Literal["auto", "never", "only-lossless"]
OnLeak = Literal["drop", "move", "error"]


@dataclass(frozen=True, kw_only=True)
class ImportSettings(CaptionSettings):
    """How data of other tools becomes a dataset."""

    protocol: Annotated[
        Literal["", "ade20k", "coco"],
        option("Palette of the dataset.  [default: the dataset's or the first source's, else ade20k]"),
    ] = ""
    palette: Annotated[str, option("Palette table with additional classes; sources are mapped to it by name.")] = ""
    maps_palette: Annotated[
        str, option("Palette that the maps of foreign layouts use, if another: a name or a table.")
    ] = ""
    first_id: Annotated[Literal[0, 1] | None, option("Value of the first class in maps of class indices.")] = None
    cause: Annotated[Cause, option("How the maps of foreign layouts were made, instead of detecting it.")] = ""
    repair: Annotated[
        Repair,
        option("Maps that are not exact: repair them, leave them out, or repair only what loses no information."),
    ] = "auto"
    max_doubt: Annotated[
        float, option("Leave out maps with a larger share of pixels in doubt, which become unlabelled.", ge=0, le=1)
    ] = 0.1
    maps_by_person: Annotated[bool, option("Persons drew the maps (as is known of ADE20K and COCO).")] = False
    prompts_by_model: Annotated[
        str, option("The model that wrote the prompts; otherwise they count as a person's.")
    ] = ""
    shorten_prompts: Annotated[bool, option("Cut prompts to CLIP's 77 tokens, which reads no more of them.")] = False
    segment_missing: Annotated[str, option(f"Segmenter that draws missing maps: {MODEL_HELP} (toy).")] = ""
    captioner: Annotated[str, option(f"Captioner that drafts missing prompts: {MODEL_HELP} (toy).")] = ""
    size: Annotated[
        int,
        option("Short side of photo and map, in pixels.  [default: the dataset's, else 512]", ge=0, multiple_of=8),
    ] = 0
    photo_format: Annotated[Literal["", "jpg", "png"], option("Photo format.  [default: the dataset's, else jpg]")] = ""
    min_size: Annotated[
        int,
        option("Leave out photos with a shorter short side, in pixels.  [default: 384, or the size if smaller]", ge=0),
    ] = 0
    max_megapixels: Annotated[float, option("Leave out larger photos.", gt=0, le=1000)] = 90
    keep_duplicates: Annotated[bool, option("Keep near-duplicates (in one group, so in one split).")] = False
    on_leak: Annotated[
        OnLeak,
        option("Near-duplicates in different splits: leave the later one out, move it to the other's split, or stop."),
    ] = "drop"
    split: Annotated[str, option("Held-out shares, such as val=0.1, of photos that come without a split.")] = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        from segkit.dataset import splits  # not needed to show the options

        splits.shares(self.split)
        if 0 < self.size < 64:
            raise SettingError("size", self.size, "at least 64")

    def for_segmenter(self, recorded: Mapping[str, Any]) -> "BuildSettings":
        """Return the settings under which a build would load the segmenter.

        Args:
            recorded: settings of the dataset, which say how its maps are segmented.
        """
        from segkit.build.settings import BuildSettings

        shared = ("protocol", "palette", "ensemble", "tiles", "flip_average")
        return BuildSettings(
            segmenter=self.segment_missing,
            **{name: recorded[name] for name in shared if name in recorded},
            caption=False,
            device=self.device,
            precision=self.precision,
            batch_size=self.batch_size,
        )
