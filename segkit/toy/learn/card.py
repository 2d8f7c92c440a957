"""The model card of the toy networks: what they are, how they were made, how right they are."""

from collections.abc import Sequence
from typing import Any

from segkit.toy.learn import measure, networks

_CARD = """# The networks of segkit's toy world

A OneFormer (`segmenter/`, {segmenter[parameters]:,} parameters) and a BLIP captioner (`captioner/`,
{captioner[parameters]:,} parameters), in transformers' folder format, and a Stable Diffusion of SD1's classes
(`base/`, {base[parameters]:,} parameters) in diffusers', all fp16. **They know the rendered rooms and streets
of `segkit.toy.world` and nothing else**: real photos are beyond them. They are there so that segkit can be tried,
taught and tested without a download, in a world where the truth of every pixel is known.

Use: `segkit build-dataset photos/ --segmenter toy --captioner toy`, `segkit train DATASET --base toy --controlnet fresh
--resolution 64`. Licence: as segkit, Apache-2.0. No data but rendered scenes went into them.

## How they were made

    python -m segkit.toy.learn -o FOLDER

From seeds alone: rendered scenes ({scenes_of}; seeds from 1,000,000 on), fresh weights. Equal seeds give like networks,
not equal bits: sums are rounded differently on machines with other numbers of cores.

{courses}

AdamW; the rate rises over the first tenth of a course and falls to nothing (one cycle). Seed {seed}. Losses are
means over the first and the last tenth of the steps. The base saw photos of 64 x 64 pixels with their true
sentences, one in ten without, and never a map: where things are is what a ControlNet has to add.

{machines}

Minutes with rendering and measuring. Sizes of segmenter and captioner: {scale}.

## How right they are

On {scenes} scenes of seeds 0 to {last}, which they were not trained on; measured on the files of this folder, by
the code that runs released networks. mIoU: pixels of all scenes, mean over the classes that are there. Untrained: the
same networks before, on {untrained} scenes.

{maps}

{captions}

Precision: named classes that are in the picture. Recall: classes of the true sentence that are named. Truthful:
captions that name nothing the picture lacks.

{drawings}

Drawings, of {base[trained][scenes]} of these scenes, are looked at by the segmenter. Photos: mIoU of the photos
themselves in the size of the drawings. Kept: of the same photos after the VAE's encoder and decoder; error: how far
their pixels are off on average, of 255. Named: share of the things in a prompt that are seen in what is drawn from
it ({steps} steps of DPM-Solver++, guidance {guidance:g}).

Intersection over union of the segmenter by class:

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
    names = ("segmenter", "captioner", "base")
    return _CARD.format(
        **figures,
        scenes_of=", ".join(f"{figures[name]['lessons']:,} for the {name}" for name in names),
        courses=_courses(figures, names),
        machines=_machines(figures, names),
        scale=networks.TOY,
        last=figures["scenes"] - 1,
        untrained=segmenter["untrained"][sides[0]]["scenes"],
        maps=maps,
        captions=captions,
        drawings=_drawings(figures["base"]),
        steps=measure.STEPS,
        guidance=measure.GUIDANCE,
        classes=_table(("class", *(f"{side} px" for side in sides)), by_class),
    )


def _courses(figures: dict[str, Any], names: tuple[str, ...]) -> str:
    return _table(
        ("course", "steps", "scenes a step", "highest rate", "first loss", "last loss", "minutes"),
        [
            (
                f"{name}: {course}",
                *(f"{found[key]:,}" for key in ("steps", "batch", "rate")),
                *(f"{found[key]:.2f}" for key in ("first_loss", "last_loss")),
                f"{found['seconds'] / 60:.1f}",
            )
            for name in names
            for course, found in figures[name]["courses"].items()
        ],
    )


def _machines(figures: dict[str, Any], names: tuple[str, ...]) -> str:
    rows = [
        (
            name,
            figures[name]["machine"],
            ", ".join(f"{library} {number}" for library, number in figures[name]["versions"].items()),
            f"{figures[name]['seconds'] / 60:.0f}",
        )
        for name in names
    ]
    return _table(("network", "machine", "with", "minutes"), rows)


def _drawings(base: dict[str, Any]) -> str:
    found, before = base["trained"], base["untrained"]
    row = (*(f"{found[key]:.3f}" for key in ("photos", "kept")), f"{found['error']:.1f}", f"{found['named']:.3f}")
    header = ("drawings", "photos", "kept", "error", "named", "named untrained")
    return _table(header, [("64 px", *row, f"{before['named']:.3f}")])


_SUMMED = {
    "segmenter": ("miou", "accuracy"),
    "captioner": ("precision", "recall", "truthful"),
    "base": ("photos", "kept", "named"),
}


def summary(name: str, found: dict[str, Any]) -> str:
    """Return the figures of one network that matter as a few words."""
    trained = {64: found["trained"]} if name == "base" else found["trained"]
    sizes = (
        ", ".join(f"{key} {quality[key]:.3f}" for key in _SUMMED[name]) + f" at {side} px"
        for side, quality in trained.items()
    )
    return f"{name}: {'; '.join(sizes)}; {found['seconds'] / 60:.1f} minutes."


def _table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [header, tuple("---" for _ in header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
