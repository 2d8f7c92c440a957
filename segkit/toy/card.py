"""The model card of the toy networks: what they are, how they were made, how right they are."""

from typing import Any

from segkit.toy import networks

_CARD = """# The networks of segkit's toy world

A OneFormer (`segmenter/`, {segmenter[parameters]:,} parameters) and a BLIP captioner (`captioner/`,
{captioner[parameters]:,} parameters), in transformers' folder format, fp16. **They know the rendered rooms and streets
of `segkit.toy.world` and nothing else**: real photos are beyond them. They are there so that segkit can be tried,
taught and tested without a download, in a world where the truth of every pixel is known.

Use: `segkit build-dataset photos/ --segmenter toy --captioner toy`. Licence: as segkit, Apache-2.0. No data but
rendered scenes went into them.

## How they were made

    python -m segkit.toy.train -o FOLDER

From seeds alone: rendered scenes ({segmenter[lessons]:,} for the one, {captioner[lessons]:,} for the other, seeds from
1,000,000 on), fresh weights. Equal seeds give like
networks, not equal bits: sums are rounded differently on machines with other numbers of cores.

{courses}

AdamW; the rate rises over the first tenth of a course and falls to nothing (one cycle). Seed {seed}. Losses are
means over the first and the last tenth of the steps.

Machine: {machine}; torch {versions[torch]}, transformers {versions[transformers]}. All in all, with rendering and
measuring: {minutes:.0f} minutes. Sizes: {scale}.

## How right they are

On {scenes} scenes of seeds 0 to {last}, which they were not trained on; measured on the files of this folder, by
the code that runs released networks. mIoU: pixels of all scenes, mean over the classes that are there. Untrained: the
same networks before, on {untrained} scenes.

{maps}

{captions}

Precision: named classes that are in the picture. Recall: classes of the true sentence that are named. Truthful:
captions that name nothing the picture lacks. Intersection over union by class:

{classes}
"""


def write(figures: dict[str, Any]) -> str:
    """Return the card as Markdown.

    Args:
        figures: what train.train measured.
    """
    segmenter, captioner = figures["segmenter"], figures["captioner"]
    sides = list(segmenter["trained"])
    maps = _table(
        ("maps", "mIoU", "pixel accuracy", "mIoU untrained"),
        [
            (
                f"{side} px",
                *(f"{segmenter['trained'][side][key]:.3f}" for key in ("miou", "accuracy")),
                f"{segmenter['untrained'][side]['miou']:.3f}",
            )
            for side in sides
        ],
    )
    captions = _table(
        ("captions", "precision", "recall", "truthful", "recall untrained"),
        [
            (
                f"{side} px",
                *(f"{captioner['trained'][side][key]:.3f}" for key in ("precision", "recall", "truthful")),
                f"{captioner['untrained'][side]['recall']:.3f}",
            )
            for side in sides
        ],
    )
    by_class = [
        (name, *(f"{segmenter['trained'][side]['iou'].get(name, float('nan')):.3f}" for side in sides))
        for name in segmenter["trained"][sides[0]]["iou"]
    ]
    courses = _table(
        ("course", "steps", "scenes a step", "highest rate", "first loss", "last loss", "minutes"),
        [
            (
                f"{name}: {course}",
                *(f"{found[key]:,}" for key in ("steps", "batch", "rate")),
                *(f"{found[key]:.2f}" for key in ("first_loss", "last_loss")),
                f"{found['seconds'] / 60:.1f}",
            )
            for name in ("segmenter", "captioner")
            for course, found in figures[name]["courses"].items()
        ],
    )
    return _CARD.format(
        **figures,
        courses=courses,
        minutes=sum(figures[part]["seconds"] for part in ("segmenter", "captioner")) / 60,
        scale=networks.TOY,
        last=figures["scenes"] - 1,
        untrained=segmenter["untrained"][sides[0]]["scenes"],
        maps=maps,
        captions=captions,
        classes=_table(("class", *(f"{side} px" for side in sides)), by_class),
    )


def summary(name: str, found: dict[str, Any]) -> str:
    """Return the figures of one network that matter as a few words."""
    keys = ("miou", "accuracy") if name == "segmenter" else ("precision", "recall", "truthful")
    sizes = (
        ", ".join(f"{key} {quality[key]:.3f}" for key in keys) + f" at {side} px"
        for side, quality in found["trained"].items()
    )
    return f"{name}: {'; '.join(sizes)}; {found['seconds'] / 60:.1f} minutes."


def _table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [header, tuple("---" for _ in header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
