"""How the toy OneFormer learns: first its backbone to see, then all of it by transformers' own loss.

Three things decide on so small a network: query embeddings drawn from N(0, 1) (see networks.oneformer), a backbone that
knows its classes before the queries ask for them, and queries that need not seek their classes (see Fixed).
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from PIL import Image
from PIL.Image import Resampling

from segkit.toy import world
from segkit.toy.learn import lessons
from segkit.toy.learn.course import Course, Report, follow
from segkit.toy.learn.lessons import Lesson

EARLY = (0.6, 128)
"""In which first share of a course's steps photos are scaled to which shorter side: coarse things first."""

PIXEL_WEIGHT = 10.0
"""Weight of the per-pixel loss on the mask features."""

POINTS = 3136
"""Points at which masks are compared; OneFormer's own 12,544 are for pictures of 640 pixels."""


def sight(network: Sequence[Any], rendered: Sequence[Lesson], course: Course, where: str, report: Report) -> None:
    """Train a OneFormer's backbone, in place, to name the class of each pixel through a head that is thrown away.

    Args:
        network: the network and its processor (networks.oneformer).
        rendered: the lessons.
        course: how long and how fast.
        where: a torch device.
        report: takes the loss of every step.
    """
    import torch
    from torch.nn import functional

    model, processor = network
    backbone = model.to(where).model.pixel_level_module.encoder.train()
    width = model.config.mask_dim
    lenses = torch.nn.ModuleList([torch.nn.Conv2d(channels, width, 1) for channels in backbone.channels]).to(where)
    name = torch.nn.Conv2d(width, len(world.CLASSES), 1).to(where)
    rarity = lessons.rarity(rendered).to(where)
    drawn = lessons.batches(rendered, course.batch, course.seed)
    sides = _sides(processor, course)

    def loss() -> Any:
        inputs, labels = _batch(processor, next(drawn), next(sides))
        maps = backbone(inputs["pixel_values"].to(where)).feature_maps  # strides 4, 8, 16, 32
        size = maps[0].shape[-2:]
        seen = [lens(each) for lens, each in zip(lenses, maps, strict=True)]
        scaled = [functional.interpolate(each, size, mode="bilinear", align_corners=False) for each in seen]
        scores = name(torch.relu(torch.stack(scaled).sum(0)))  # (B, classes, h, w)
        return functional.cross_entropy(scores, _small(labels.to(where), size), weight=rarity)

    follow(course, [*backbone.parameters(), *lenses.parameters(), *name.parameters()], loss, report)


def masks(network: Sequence[Any], rendered: Sequence[Lesson], course: Course, where: str, report: Report) -> None:
    """Train all of a OneFormer, in place; it is left in evaluation mode. For the arguments see sight."""
    import torch
    from torch.nn import functional

    model, processor = network
    model.to(where).train()
    model.criterion.num_points = POINTS
    model.criterion.matcher = _fixed_matcher()
    name = torch.nn.Conv2d(model.config.mask_dim, len(world.CLASSES), 1).to(where)
    features: list[Any] = []
    watch = model.model.pixel_level_module.register_forward_hook(
        lambda module, inputs, outputs: features.append(outputs.decoder_last_feature)
    )
    rarity = lessons.rarity(rendered).to(where)
    drawn = lessons.batches(rendered, course.batch, course.seed)
    sides = _sides(processor, course)

    def loss() -> Any:
        inputs, labels = _batch(processor, next(drawn), next(sides))
        labels = labels.to(where)
        by_query = model(**inputs.to(where), **_masks(labels)).loss
        scores = name(features.pop())  # (B, classes, h, w)
        by_pixel = functional.cross_entropy(scores, _small(labels, scores.shape[-2:]), weight=rarity)
        return by_query + PIXEL_WEIGHT * by_pixel

    follow(course, [*model.parameters(), *name.parameters()], loss, report)
    watch.remove()
    model.eval()


def _fixed_matcher() -> Any:
    """Return a matcher for OneFormer's loss that gives query i the world's class i, whatever the queries say.

    Queries that seek their classes by Hungarian matching, as in DETR, find them only after many more steps. MaskFormer
    (Cheng et al. 2021, section 4.3) tried both; for semantic maps of few classes the fixed one is nearly as good.
    """
    import torch

    class Fixed(torch.nn.Module):
        """In place of OneFormerHungarianMatcher."""

        def forward(self, masks: Any, classes: Any, mask_labels: Any, class_labels: Any) -> list[tuple[Any, Any]]:
            """Return for each picture the queries and the targets that belong together."""
            places = torch.from_numpy(lessons.places()).to(class_labels[0].device)
            return [(places[labels], torch.arange(len(labels), device=labels.device)) for labels in class_labels]

    return Fixed()


def _sides(processor: Any, course: Course) -> Iterator[int]:
    """Yield for each step to what shorter side photos are scaled."""
    last = processor.image_processor.size["shortest_edge"]
    return (EARLY[1] if step < EARLY[0] * course.steps else last for step in range(course.steps))


def _batch(processor: Any, drawn: Sequence[Lesson], side: int) -> tuple[Any, Any]:
    """Return the network's inputs, the shorter side scaled to `side` pixels, and the (B, H, W) labels at that size."""
    import torch

    photos, tasks = [each.photo for each in drawn], ["semantic"] * len(drawn)
    size = {"shortest_edge": side, "longest_edge": 4 * side}
    inputs = processor(images=photos, task_inputs=tasks, size=size, return_tensors="pt")
    height, width = inputs["pixel_values"].shape[-2:]
    sized = [Image.fromarray(each.labels).resize((width, height), Resampling.NEAREST) for each in drawn]
    return inputs, torch.from_numpy(np.stack([np.asarray(each, np.int64) for each in sized]))


def _small(labels: Any, size: Any) -> Any:
    """Return labels as places in world.CLASSES at the size of a feature map: (B, H, W) -> (B, h, w)."""
    import torch
    from torch.nn import functional

    small = functional.interpolate(labels[:, None].float(), size, mode="nearest-exact")[:, 0].long()
    return torch.from_numpy(lessons.places()).to(labels.device)[small]


def _masks(labels: Any) -> dict[str, Any]:
    """Return the classes of each picture and their masks, as OneFormer's loss wants them."""
    classes = [each.unique() for each in labels]
    found = [(each[None] == there[:, None, None]).float() for each, there in zip(labels, classes, strict=True)]
    return {"class_labels": classes, "mask_labels": found}
