"""What a person should know after an import, and do: sentences that name settings as in Python."""

from collections.abc import Iterator
from io import BytesIO

from PIL import Image

from segkit import maps
from segkit.dataset.formats.items import Content
from segkit.dataset.prompts import BUDGET
from segkit.errors import MapError
from segkit.imports.job import Job
from segkit.imports.outcome import Outcome
from segkit.maps import diagnose
from segkit.words import quote

PICTURES = ("photo", "depth")
"""Causes that a photo has which is taken for a map."""

SAMPLE = 5
"""Pairs that are looked at to find out whether photos and maps are swapped."""

NAMED = 8
"""Classes that are named."""


def of_outcome(outcome: Outcome, job: Job) -> Iterator[str]:
    """Yield the sentences that an outcome calls for."""
    if outcome.is_fruitless and _are_swapped(job):
        yield (
            "Photos and maps seem to be swapped: what the source lists as photos are maps, and what it lists as maps "
            "are photos. Rename the columns or folders."
        )
    if outcome.unmapped:
        yield _unmapped(outcome)
    if outcome.enlarged:
        yield (
            f"Maps smaller than the stored photo, enlarged to its size: {outcome.enlarged:,}. Their borders are as "
            "coarse as they were (origin.enlarged)."
        )
    if outcome.differing:
        yield (
            f"Photos that the dataset has with another map, which stays: {outcome.differing:,}. If persons drew the "
            "maps of the sources: maps_by_person=True."
        )
    if outcome.without_prompt:
        yield (
            f"New triples without a prompt: {outcome.without_prompt:,}. To draft them: segkit caption "
            f"{quote(outcome.folder)}"
        )
    if outcome.too_long:
        yield (
            f"Prompts by a person over CLIP's {BUDGET} tokens: {outcome.too_long:,}. segkit check calls that an error; "
            "import them into another folder with shorten_prompts=True, or shorten them with segkit caption --edit."
        )


def _unmapped(outcome: Outcome) -> str:
    shares = outcome.unmapped_shares()
    named = ", ".join(f"{name} ({share:.1%})" for name, share in shares[:NAMED])
    more = f" and {len(shares) - NAMED:,} more" if len(shares) > NAMED else ""
    total = sum(share for _, share in shares)
    return (
        f"Classes without a counterpart in the dataset's palette, {total:.1%} of the pixels, which became unlabelled: "
        f"{named}{more}. To keep them, import into another folder with a table that has them: palette=TABLE."
    )


def _are_swapped(job: Job) -> bool:
    """Return whether the first pairs have a photo as map, and a map as photo."""
    pairs = (
        (item.photo, item.control_map, number) for number, one in enumerate(job.items.collections) for item in one.items
    )
    sample = [pair for pair in pairs if pair[0] and pair[1]][:SAMPLE]
    return bool(sample) and all(_is_swapped(photo, shown, number, job) for photo, shown, number in sample)


def _is_swapped(photo: Content | None, shown: Content | None, number: int, job: Job) -> bool:
    pictures = [_opened(content) for content in (photo, shown)]
    if None in pictures:
        return False
    causes = [diagnose.identify(picture, job.rules[number].painted_with).cause for picture in pictures if picture]
    return causes[1] in PICTURES and causes[0] not in (*PICTURES, "unknown", "blank")


def _opened(content: Content | None) -> Image.Image | None:
    try:
        return maps.decode(BytesIO(content.read())) if content else None
    except (MapError, OSError):
        return None
