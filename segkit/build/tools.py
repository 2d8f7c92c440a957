"""The loaded networks that a build or a captioning run works with."""

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from segkit.build.settings import BuildSettings, CaptionSettings
from segkit.dataset import prompts
from segkit.models.caption import Captioner
from segkit.models.segment import Segmentation, Segmenter
from segkit.palette import Palette, protocol


@dataclass(frozen=True)
class Drafter:
    """What drafts prompts: the captioner, the token counter, and who they are.

    Attributes:
        caption: takes RGB photos of any sizes.
        count: counts a prompt's tokens.
        model, revision: of the captioner.
        tokenizer: whose tokens are counted; "estimate" where CLIP's vocabulary was not to be had.
        batch: photos at a time.
    """

    caption: Captioner
    count: prompts.Count
    model: str = ""
    revision: str = ""
    tokenizer: str = "estimate"
    batch: int = 1

    @property
    def identities(self) -> dict[str, dict[str, str]]:
        """Who drafts and whose tokens are counted, as Info.models has them."""
        return {
            "captioner": {"name": self.model, "revision": self.revision},
            "tokenizer": {"name": self.tokenizer},
        }

    def __call__(self, photos: Sequence[Image.Image]) -> list[str]:
        """Caption photos, in batches that fit."""
        from segkit.models import batches

        return batches.run(self.caption, photos, self.batch)


@dataclass(frozen=True)
class Networks:
    """What a build works with: palette, segmenter, and drafting unless --no-caption.

    Attributes:
        segment: takes RGB photos of one size.
        model, revision: of the segmenter.
        batch: photos at a time.
    """

    palette: Palette
    segment: Segmenter
    drafting: Drafter | None = None
    model: str = ""
    revision: str = ""
    batch: int = 1

    @property
    def identities(self) -> dict[str, dict[str, str]]:
        """Which networks these are, as Info.models has them."""
        drafting = self.drafting.identities if self.drafting else {}
        return {"segmenter": {"name": self.model, "revision": self.revision}, **drafting}

    def __call__(self, photos: Sequence[Image.Image]) -> list[Segmentation]:
        """Segment photos of one size, in batches that fit."""
        from segkit.models import batches

        return batches.run(self.segment, photos, self.batch)


def load(settings: BuildSettings) -> Networks:
    """Load the networks of a build.

    Raises:
        ModelError: a network is missing, damaged or does not fit the palette.
        PaletteError: the table of --palette is none, or clashes.
        UsageError: the device is not there.
    """
    from segkit.models import batches, device, hub, segment
    from segkit.models.segment import NeuralSegmenter

    table = protocol.load(settings.protocol, settings.palette)
    hub.find(settings.segmenter, segment.OPTION)  # what is missing is told before anything is loaded
    drafting = load_drafting(settings) if settings.caption else None
    where = device.resolve(settings.device, settings.precision)
    segmenter = NeuralSegmenter(settings.segmenter, table, where)
    batch = batches.size(settings.batch_size, where.name, segmenter.parameters)
    return Networks(table, segmenter, drafting, segmenter.source.name, segmenter.source.revision, batch)


def load_drafting(settings: CaptionSettings) -> Drafter:
    """Load the captioner and the token counter.

    Raises:
        ModelError: the captioner is missing or damaged, or the tokenizer folder is none.
    """
    from segkit.models import batches, caption, device, hub, tokens
    from segkit.models.caption import NeuralCaptioner

    hub.find(settings.captioner, caption.OPTION)
    counter = tokens.counter(settings.tokenizer)
    where = device.resolve(settings.device, settings.precision)
    captioner = NeuralCaptioner(settings.captioner, where, settings.caption_tokens, settings.beams)
    batch = batches.size(settings.batch_size, where.name, captioner.parameters)
    return Drafter(captioner, counter.count, captioner.source.name, captioner.source.revision, counter.name, batch)
