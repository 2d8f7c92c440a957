"""Load the networks and the palette that a build or a captioning run uses."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from segkit.build.settings import BuildSettings, CaptionSettings
from segkit.dataset import prompts
from segkit.models.caption import Captioner
from segkit.models.segment import Segmentation, Segmenter
from segkit.palette import Palette, protocol


@dataclass(frozen=True)
class Drafter:
    """A captioner and a token counter, with their identities.

    Attributes:
        caption: maps RGB photos of any sizes to captions.
        count: returns the number of tokens of a prompt.
        model: the captioner's name.
        revision: the captioner's revision; see models.hub.Source.
        weights: hash of the captioner's weights; see models.hub.Source.
        precision: the captioner's arithmetic, such as "fp32".
        tokenizer: the name of the tokenizer behind `count`; "estimate" if CLIP's tokenizer is unavailable.
        batch: photos per call of the captioner.
    """

    caption: Captioner
    count: prompts.Count
    model: str = ""
    revision: str = ""
    tokenizer: str = "estimate"
    batch: int = 1
    weights: str = ""
    precision: str = ""

    @property
    def identities(self) -> dict[str, dict[str, str]]:
        """The captioner and the tokenizer, in the form of Info.models."""
        return {
            "captioner": _identity(self),
            "tokenizer": {"name": self.tokenizer},
        }

    def __call__(self, photos: Sequence[Image.Image]) -> list[str]:
        """Caption RGB photos of any sizes, in batches that fit into memory."""
        from segkit.models import batches

        return batches.run(self.caption, photos, self.batch)


@dataclass(frozen=True)
class Networks:
    """The palette and the networks of a build.

    Attributes:
        palette: the classes and their colours.
        segment: maps RGB photos of one size to their segmentations.
        drafting: drafts prompts; None if the build leaves them empty.
        model: the segmenter's name; of an ensemble, its networks' names with " + " in between.
        revision: the segmenter's revision; see models.hub.Source. Of an ensemble, as the names.
        weights: hash of the segmenter's weights; see models.hub.Source. Of an ensemble, as the names.
        precision: the segmenter's arithmetic, such as "fp32".
        batch: photos per call of the segmenter.
    """

    palette: Palette
    segment: Segmenter
    drafting: Drafter | None = None
    model: str = ""
    revision: str = ""
    batch: int = 1
    weights: str = ""
    precision: str = ""

    @property
    def identities(self) -> dict[str, dict[str, str]]:
        """The networks, in the form of Info.models."""
        drafting = self.drafting.identities if self.drafting else {}
        return {"segmenter": _identity(self), **drafting}

    def __call__(self, photos: Sequence[Image.Image]) -> list[Segmentation]:
        """Segment RGB photos of one size, in batches that fit into memory."""
        from segkit.models import batches

        return batches.run(self.segment, photos, self.batch)


def _identity(network: Drafter | Networks) -> dict[str, str]:
    """Return what identifies a network in dataset.toml; what is unknown is left out."""
    known = {"weights": network.weights, "precision": network.precision}
    return {"name": network.model, "revision": network.revision} | {name: text for name, text in known.items() if text}


def require_known(settings: BuildSettings, recorded: Mapping[str, Any]) -> None:
    """Check the names of networks, which are not loaded if there are no new photos; see hub.require_known.

    Args:
        settings: name them.
        recorded: settings of the dataset, whose segmenter is compared elsewhere; empty for a new one.

    Raises:
        UnknownModelError: there is none of a name.
    """
    from segkit.models import hub, segment

    for place, name in enumerate(settings.segmenters if not recorded else ()):
        hub.require_known(name, segment.ROLE, "ensemble" if place else "")
    if settings.caption:
        require_known_captioner(settings, recorded)


def require_known_captioner(settings: CaptionSettings, recorded: Mapping[str, Any]) -> None:
    """Check the names of captioner and tokenizer. Those that are recorded are not checked: folders may have moved.

    Raises:
        UnknownModelError: there is none of a name.
    """
    from segkit.models import caption, hub, tokens

    if settings.captioner != recorded.get("captioner"):
        hub.require_known(settings.captioner, caption.ROLE)
    if settings.tokenizer not in ("", recorded.get("tokenizer")):
        tokens.require_folder(settings.tokenizer)


def load(settings: BuildSettings) -> Networks:
    """Load the networks of a build.

    Raises:
        ModelError: a network is missing or damaged, or the segmenter's labels do not fit the palette.
        PaletteError: the palette file is not a valid palette, or its colours clash.
        UsageError: the device is not available, or does not support the precision.
    """
    from segkit.models import batches, device, hub, segment
    from segkit.models.blend import BlendedSegmenter
    from segkit.models.segment import NeuralSegmenter

    palette = protocol.load(settings.protocol, settings.palette)
    for place, name in enumerate(settings.segmenters):  # report a missing segmenter before loading the captioner
        hub.find(name, segment.ROLE, "ensemble" if place else "")
    drafting = load_drafting(settings) if settings.caption else None
    resolved = device.resolve(settings.device, settings.precision)
    segmenters = [NeuralSegmenter(name, palette, resolved) for name in settings.segmenters]
    batch = batches.size(settings.batch_size, resolved.name, max(network.parameters for network in segmenters))
    segment_photos: Segmenter = segmenters[0]
    if len(segmenters) > 1 or settings.tiles or settings.flip_average:
        segment_photos = BlendedSegmenter(segmenters, settings.tiles, settings.flip_average, batch)
    name, revision, weights = (
        " + ".join(getattr(network.source, part) for network in segmenters) for part in ("name", "revision", "weights")
    )
    return Networks(palette, segment_photos, drafting, name, revision, batch, weights, resolved.precision)


def load_drafting(settings: CaptionSettings) -> Drafter:
    """Load the captioner and the token counter.

    Raises:
        ModelError: the captioner is missing or damaged, or the tokenizer's folder does not hold a CLIP tokenizer.
        UsageError: the device is not available, or does not support the precision.
    """
    from segkit.models import batches, caption, device, hub, tokens
    from segkit.models.caption import NeuralCaptioner

    hub.find(settings.captioner, caption.ROLE)
    counter = tokens.counter(settings.tokenizer)
    resolved = device.resolve(settings.device, settings.precision)
    captioner = NeuralCaptioner(
        settings.captioner, resolved, settings.caption_tokens, settings.beams, settings.caption_task
    )
    batch = batches.size(settings.batch_size, resolved.name, captioner.parameters)
    source = captioner.source
    return Drafter(
        captioner, counter.count, source.name, source.revision, counter.name, batch, source.weights, resolved.precision
    )
