"""The model card of the toy networks: description, training and evaluation."""

from collections.abc import Sequence
from typing import Any

from segkit.toy.learn import measure, networks

BASES = ("base", "base-sdxl")
"""Networks that draw."""

_CARD = """# The networks of segkit's toy world

A OneFormer (`segmenter/`, {segmenter[parameters]:,} parameters), a BLIP captioner (`captioner/`,
{captioner[parameters]:,} parameters) and a SegFormer (`judge/`, {judge[parameters]:,} parameters) in
transformers' folder format, and two Stable Diffusions in diffusers' format, one with the classes of SD1 (`base/`,
{base[parameters]:,} parameters), one with the classes and the structure of SDXL (`base-sdxl/`,
{base-sdxl[parameters]:,} parameters), all in fp16. **They know only the rendered rooms
and streets of `segkit.toy.world`** and are useless for real photos. With them segkit can be tried, taught and tested
without a download, in a world where the ground truth of every pixel is known.

The SegFormer judges pictures and is used for neither maps nor rewards. It shares nothing with the OneFormer: neither
architecture nor seed nor training scenes. Its name is `toy-judge`.

Usage: `segkit build-dataset photos/ --segmenter toy --captioner toy`, `segkit train DATASET --base toy --controlnet
fresh --resolution 64`; the base of SDXL's structure is `--base toy-sdxl`. Licence: Apache-2.0, like segkit. They were
trained on rendered scenes only.

## Training

    python -m segkit.toy.learn -o FOLDER

Training starts from random weights, but that of base-sdxl from the base: it has its VAE and tokenizer, and its weights
of UNet and text encoder wherever they fit. It uses rendered scenes only ({scenes_of}; seeds from 1,000,000 on).
Equal seeds give equivalent networks but not identical weights, because machines with different numbers of cores round
sums differently.

{courses}

AdamW with a one-cycle learning rate: it rises over the first tenth of a course, then falls to zero. Seed {seed}; the
judge's {judge_seed}. Losses are means over the first and the last tenth of the steps. The bases were trained on photos
of 64 x 64 pixels with their true sentences, one in ten of them empty, and never on a map: layout is what a ControlNet
has to add. Half of base-sdxl's photos were crops, and a quarter came from sources of fewer than 64 pixels a side, as
their time_ids said. Its loss hardly changes, since it starts with the weights of the base; what it draws does (below).

{machines}

Minutes include rendering and evaluation. Sizes of segmenter and captioner: {scale}.

## Evaluation

On {scenes} scenes with seeds 0 to {last}, none of which was used in training. The files in this folder were evaluated
by the code that runs released networks. mIoU: over the pixels of all scenes, averaged over the classes present.
Untrained: the same networks before training, on {untrained} scenes.

{maps}

{captions}

Precision: share of the named classes that are in the picture. Recall: share of the classes in the true sentence that
are named. Truthful: share of the captions that name nothing that is missing from the picture.

{drawings}

The toy segmenter judges pictures drawn for {base[trained][scenes]} of these scenes. Photos: mIoU of the photos
themselves at the size of the drawings. Kept: mIoU of the same photos after a round trip through the VAE; error: the
mean absolute pixel difference of that round trip, 0 to 255. Named: share of the classes in a prompt that are found in
the picture drawn from it ({steps} steps of DPM-Solver++, guidance scale {guidance:g}).

Intersection over union of the segmenter by class:

{classes}

The judge:

{judged}
"""


def write(figures: dict[str, Any]) -> str:
    """Return the card as Markdown.

    Args:
        figures: the contents of figures.json (see train.train).
    """
    segmenter, captioner = figures["segmenter"], figures["captioner"]
    sides = list(segmenter["trained"])
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
    names = ("segmenter", "captioner", "base", "base-sdxl", "judge")
    return _CARD.format(
        **figures,
        scenes_of=", ".join(f"{figures[name]['lessons']:,} for the {name}" for name in names),
        courses=_courses(figures, names),
        machines=_machines(figures, names),
        scale=networks.TOY,
        last=figures["scenes"] - 1,
        untrained=segmenter["untrained"][sides[0]]["scenes"],
        judge_seed=next(iter(figures["judge"]["courses"].values()))["seed"],
        maps=_maps(segmenter),
        judged=_maps(figures["judge"]),
        captions=captions,
        drawings=_drawings(figures),
        steps=measure.STEPS,
        guidance=measure.GUIDANCE,
        classes=_table(("class", *(f"{side} px" for side in sides)), by_class),
    )


def _maps(figures: dict[str, Any]) -> str:
    return _table(
        ("maps", "mIoU", "pixel accuracy", "mIoU untrained"),
        [
            (
                f"{side} px",
                *(f"{quality[key]:.3f}" for key in ("miou", "accuracy")),
                f"{figures['untrained'][side]['miou']:.3f}",
            )
            for side, quality in figures["trained"].items()
        ],
    )


def _courses(figures: dict[str, Any], names: tuple[str, ...]) -> str:
    return _table(
        ("course", "steps", "scenes per step", "peak learning rate", "first loss", "last loss", "minutes"),
        [
            (
                f"{name}: {course}",
                *(f"{record[key]:,}" for key in ("steps", "batch", "rate")),
                *(f"{record[key]:.2f}" for key in ("first_loss", "last_loss")),
                f"{record['seconds'] / 60:.1f}",
            )
            for name in names
            for course, record in figures[name]["courses"].items()
        ],
    )


def _machines(figures: dict[str, Any], names: tuple[str, ...]) -> str:
    rows = [
        (
            name,
            figures[name]["machine"],
            ", ".join(f"{library} {version}" for library, version in figures[name]["versions"].items()),
            f"{figures[name]['seconds'] / 60:.0f}",
        )
        for name in names
    ]
    return _table(("network", "machine", "libraries", "minutes"), rows)


def _drawings(figures: dict[str, Any]) -> str:
    rows = []
    for name in BASES:
        trained, untrained = figures[name]["trained"], figures[name]["untrained"]
        shares = [f"{quality:.3f}" for quality in (trained["photos"], trained["kept"], trained["named"])]
        rows.append((f"{name}, 64 px", *shares[:2], f"{trained['error']:.1f}", shares[2], f"{untrained['named']:.3f}"))
    return _table(("drawings", "photos", "kept", "error", "named", "named untrained"), rows)


_SUMMARY_KEYS = {
    "segmenter": ("miou", "accuracy"),
    "captioner": ("precision", "recall", "truthful"),
    **dict.fromkeys(BASES, ("photos", "kept", "named")),
    "judge": ("miou", "accuracy"),
}


def summary(name: str, figures: dict[str, Any]) -> str:
    """Return the key figures of one network in one line."""
    trained = {64: figures["trained"]} if name in BASES else figures["trained"]
    sizes = (
        ", ".join(f"{key} {quality[key]:.3f}" for key in _SUMMARY_KEYS[name]) + f" at {side} px"
        for side, quality in trained.items()
    )
    return f"{name}: {'; '.join(sizes)}; {figures['seconds'] / 60:.1f} minutes."


def _table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [header, tuple("---" for _ in header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
