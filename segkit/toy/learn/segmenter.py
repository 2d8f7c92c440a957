"""Training of the toy OneFormer: first its backbone on pixel classes, then the whole network with transformers' loss.

So small a network trains well only with query embeddings drawn from N(0, 1) (see networks.oneformer), a backbone that
is pretrained on the classes, and queries that are bound to fixed classes (see _fixed_matcher).
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from PIL import Image
from PIL.Image import Resampling

from segkit.toy import world
from segkit.toy.learn import lessons
from segkit.toy.learn.course import Course, Report, optimize
from segkit.toy.learn.lessons import Lesson

COARSE = (0.6, 128)
"""For this first share of the steps, photos are scaled to this short side in pixels: coarse structure first."""

PIXEL_WEIGHT = 10.0
"""Weight of the per-pixel loss on the mask features."""

POINTS = 3136
"""Points at which the loss compares masks; OneFormer's default of 12,544 is meant for pictures of 640 pixels."""


def train_backbone(
    network: Sequence[Any], samples: Sequence[Lesson], course: Course, device: str, report: Report
) -> None:
    """Train the backbone of a OneFormer in place to classify pixels, through an auxiliary head that is discarded.

    Args:
        network: the model and its processor (networks.oneformer).
        samples: the training samples.
        course: number of steps, batch size and learning rate.
        device: a torch device.
        report: called with the loss after every step.
    """
    import torch
    from torch.nn import functional

    model, processor = network
    backbone = model.to(device).model.pixel_level_module.encoder.train()
    width = model.config.mask_dim
    laterals = torch.nn.ModuleList([torch.nn.Conv2d(channels, width, 1) for channels in backbone.channels]).to(device)
    classifier = torch.nn.Conv2d(width, len(world.CLASSES), 1).to(device)
    class_weights = lessons.class_weights(samples).to(device)
    batches = lessons.batches(samples, course.batch, course.seed)
    short_sides = _short_sides(processor, course)

    def loss() -> Any:
        inputs, labels = _batch(processor, next(batches), next(short_sides))
        maps = backbone(inputs["pixel_values"].to(device)).feature_maps  # strides 4, 8, 16, 32
        size = maps[0].shape[-2:]
        features = [lateral(each) for lateral, each in zip(laterals, maps, strict=True)]
        scaled = [functional.interpolate(each, size, mode="bilinear", align_corners=False) for each in features]
        logits = classifier(torch.relu(torch.stack(scaled).sum(0)))  # (B, classes, h, w)
        return functional.cross_entropy(logits, _targets(labels.to(device), size), weight=class_weights)

    optimize(course, [*backbone.parameters(), *laterals.parameters(), *classifier.parameters()], loss, report)


def train_oneformer(
    network: Sequence[Any], samples: Sequence[Lesson], course: Course, device: str, report: Report
) -> None:
    """Train a whole OneFormer in place and leave it in evaluation mode. The arguments are those of `train_backbone`."""
    import torch
    from torch.nn import functional

    model, processor = network
    model.to(device).train()
    model.criterion.num_points = POINTS
    model.criterion.matcher = _fixed_matcher()
    classifier = torch.nn.Conv2d(model.config.mask_dim, len(world.CLASSES), 1).to(device)
    features: list[Any] = []
    hook = model.model.pixel_level_module.register_forward_hook(
        lambda module, inputs, outputs: features.append(outputs.decoder_last_feature)
    )
    class_weights = lessons.class_weights(samples).to(device)
    batches = lessons.batches(samples, course.batch, course.seed)
    short_sides = _short_sides(processor, course)

    def loss() -> Any:
        inputs, labels = _batch(processor, next(batches), next(short_sides))
        labels = labels.to(device)
        query_loss = model(**inputs.to(device), **_masks(labels)).loss
        logits = classifier(features.pop())  # (B, classes, h, w)
        pixel_loss = functional.cross_entropy(logits, _targets(labels, logits.shape[-2:]), weight=class_weights)
        return query_loss + PIXEL_WEIGHT * pixel_loss

    optimize(course, [*model.parameters(), *classifier.parameters()], loss, report)
    hook.remove()
    model.eval()


def _fixed_matcher() -> Any:
    """Return a matcher for OneFormer's loss that always matches query i with the i-th class of the toy world.

    With DETR's Hungarian matching, queries specialise only after many more steps. MaskFormer (Cheng et al. 2021,
    section 4.3) compares both; for semantic maps with few classes the fixed matching is nearly as good.
    """
    import torch

    class Fixed(torch.nn.Module):
        """Replaces OneFormerHungarianMatcher."""

        def forward(self, masks: Any, classes: Any, mask_labels: Any, class_labels: Any) -> list[tuple[Any, Any]]:
            """Return matching query and target indices for each picture."""
            places = torch.from_numpy(lessons.class_places()).to(class_labels[0].device)
            return [(places[labels], torch.arange(len(labels), device=labels.device)) for labels in class_labels]

    return Fixed()


def _short_sides(processor: Any, course: Course) -> Iterator[int]:
    """Yield the short side of the photos for each step, in pixels."""
    final = processor.image_processor.size["shortest_edge"]
    return (COARSE[1] if step < COARSE[0] * course.steps else final for step in range(course.steps))


def _batch(processor: Any, samples: Sequence[Lesson], side: int) -> tuple[Any, Any]:
    """Return the model inputs with the short side scaled to `side` pixels, and the (B, H, W) labels at that size."""
    import torch

    photos, tasks = [sample.photo for sample in samples], ["semantic"] * len(samples)
    size = {"shortest_edge": side, "longest_edge": 4 * side}
    inputs = processor(images=photos, task_inputs=tasks, size=size, return_tensors="pt")
    height, width = inputs["pixel_values"].shape[-2:]
    maps = [Image.fromarray(sample.labels).resize((width, height), Resampling.NEAREST) for sample in samples]
    return inputs, torch.from_numpy(np.stack([np.asarray(labels, np.int64) for labels in maps]))


def _targets(labels: Any, size: Any) -> Any:
    """Scale labels to a feature map's size and convert them to positions in world.CLASSES: (B, H, W) -> (B, h, w)."""
    import torch
    from torch.nn import functional

    small = functional.interpolate(labels[:, None].float(), size, mode="nearest-exact")[:, 0].long()
    return torch.from_numpy(lessons.class_places()).to(labels.device)[small]


def _masks(labels: Any) -> dict[str, Any]:
    """Return the classes of each picture and their binary masks, the arguments of OneFormer's loss."""
    classes = [label_map.unique() for label_map in labels]
    masks = [
        (label_map[None] == present[:, None, None]).float() for label_map, present in zip(labels, classes, strict=True)
    ]
    return {"class_labels": classes, "mask_labels": masks}
