"""How the toy BLIP learns: first to see which classes each patch of the photo shows, then to say the sentence.

The first teaches its eyes within minutes what the words alone would take hours for.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.Image import Resampling

from segkit.toy import world
from segkit.toy.learn import lessons
from segkit.toy.learn.course import Course, Report, autocast, follow
from segkit.toy.learn.lessons import Lesson

_UNSAID = -100
"""Marks the ends of short sentences, which are no lesson."""


def sight(network: Sequence[Any], rendered: Sequence[Lesson], course: Course, where: str, report: Report) -> None:
    """Train a captioner's vision, in place, to tell which classes each patch shows.

    Args:
        network: the network and its processor (networks.blip).
        rendered: the lessons.
        course: how long and how fast.
        where: a torch device.
        report: takes the loss of every step.
    """
    model, processor = network
    eyes = model.to(where).vision_model.train()
    patches = _Patches(eyes.config, rendered, where)
    drawn = lessons.batches(rendered, course.batch, course.seed, mixed=True)

    def loss() -> Any:
        batch = next(drawn)
        photos = processor.image_processor([each.photo for each in batch], return_tensors="pt")["pixel_values"]
        with autocast(where):
            seen = eyes(photos.to(where)).last_hidden_state
        return patches.loss(seen, batch)

    follow(course, [*eyes.parameters(), *patches.head.parameters()], loss, report)


def words(network: Sequence[Any], rendered: Sequence[Lesson], course: Course, where: str, report: Report) -> None:
    """Train all of a captioner, in place, to say the sentence, while it goes on learning to see.

    It is left in evaluation mode. For the arguments see sight.
    """
    model, processor = network
    model.to(where).train()
    patches = _Patches(model.config.vision_config, rendered, where)
    seen: list[Any] = []
    watch = model.vision_model.register_forward_hook(
        lambda module, inputs, outputs: seen.append(outputs.last_hidden_state)
    )
    drawn = lessons.batches(rendered, course.batch, course.seed, mixed=True)

    def loss() -> Any:
        batch = next(drawn)
        with autocast(where):
            by_word = model(**_inputs(processor, batch).to(where)).loss
        return by_word.float() + patches.loss(seen.pop(), batch)

    follow(course, [*model.parameters(), *patches.head.parameters()], loss, report)
    watch.remove()
    model.eval()


class _Patches:
    """Asks a vision transformer which classes each patch shows, through a head that is thrown away."""

    def __init__(self, vision: Any, rendered: Sequence[Lesson], where: str) -> None:
        import torch

        self.size, self.patch = vision.image_size, vision.patch_size
        self.head = torch.nn.Linear(vision.hidden_size, len(world.CLASSES)).to(where)
        self.rarity = lessons.rarity(rendered).to(where)

    def loss(self, seen: Any, batch: Sequence[Lesson]) -> Any:
        """Return the cross entropy between the classes of the patches and what is said of them.

        Args:
            seen: (B, 1 + patches, width) states of the last layer, the first of the whole picture.
            batch: what is true.
        """
        import torch

        scores = self.head(seen[:, 1:].float()).log_softmax(2)  # (B, patches, classes)
        shares = torch.from_numpy(np.stack([self._shares(each) for each in batch])).to(scores.device)
        return -(shares * scores * self.rarity).sum(2).mean()

    def _shares(self, lesson: Lesson) -> NDArray[np.float32]:
        """Return which share of each patch shows which class: (patches, classes)."""
        across, classes = self.size // self.patch, len(world.CLASSES)
        small = Image.fromarray(lesson.labels).resize((self.size, self.size), Resampling.NEAREST)
        places = lessons.places()[np.asarray(small)]
        tiles = places.reshape(across, self.patch, across, self.patch).swapaxes(1, 2).reshape(across**2, self.patch**2)
        counts = np.bincount((np.arange(across**2)[:, None] * classes + tiles).ravel(), minlength=across**2 * classes)
        return counts.reshape(across**2, classes).astype(np.float32) / np.float32(self.patch**2)


def _inputs(processor: Any, batch: Sequence[Lesson]) -> Any:
    """Return photos and sentences as the network takes them, with the words to say as labels."""
    inputs = processor(
        images=[each.photo for each in batch],
        text=[each.sentence for each in batch],
        padding=True,
        return_tensors="pt",
    )
    inputs["input_ids"][:, 0] = processor.tokenizer.bos_token_id  # what generation begins with
    inputs["labels"] = inputs["input_ids"].masked_fill(inputs["attention_mask"] == 0, _UNSAID)
    return inputs
