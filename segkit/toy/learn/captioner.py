"""Training of the toy BLIP: first its vision encoder on patch classes, then the whole network on sentences.

Patch classes train the vision encoder within minutes; sentences alone would take hours.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.Image import Resampling

from segkit.toy import world
from segkit.toy.learn import lessons
from segkit.toy.learn.course import Course, Report, autocast, optimize
from segkit.toy.learn.lessons import Lesson

_IGNORED = -100
"""Label of padding tokens, which the loss ignores."""


def train_vision(
    network: Sequence[Any], samples: Sequence[Lesson], course: Course, device: str, report: Report
) -> None:
    """Train the captioner's vision encoder in place to predict which classes each patch shows.

    Args:
        network: the model and its processor (networks.blip).
        samples: the training samples.
        course: number of steps, batch size and learning rate.
        device: a torch device.
        report: called with the loss after every step.
    """
    model, processor = network
    vision_model = model.to(device).vision_model.train()
    patch_classifier = _PatchClassifier(vision_model.config, samples, device)
    batches = lessons.batches(samples, course.batch, course.seed, mixed=True)

    def loss() -> Any:
        batch = next(batches)
        photos = processor.image_processor([sample.photo for sample in batch], return_tensors="pt")["pixel_values"]
        with autocast(device):
            hidden_states = vision_model(photos.to(device)).last_hidden_state
        return patch_classifier.loss(hidden_states, batch)

    optimize(course, [*vision_model.parameters(), *patch_classifier.head.parameters()], loss, report)


def train_captioner(
    network: Sequence[Any], samples: Sequence[Lesson], course: Course, device: str, report: Report
) -> None:
    """Train the whole captioner in place on the true sentences, with the patch loss as auxiliary loss.

    The network is left in evaluation mode. The arguments are those of `train_vision`.
    """
    model, processor = network
    model.to(device).train()
    patch_classifier = _PatchClassifier(model.config.vision_config, samples, device)
    hidden_states: list[Any] = []
    hook = model.vision_model.register_forward_hook(
        lambda module, inputs, outputs: hidden_states.append(outputs.last_hidden_state)
    )
    batches = lessons.batches(samples, course.batch, course.seed, mixed=True)

    def loss() -> Any:
        batch = next(batches)
        with autocast(device):
            language_loss = model(**_inputs(processor, batch).to(device)).loss
        return language_loss.float() + patch_classifier.loss(hidden_states.pop(), batch)

    optimize(course, [*model.parameters(), *patch_classifier.head.parameters()], loss, report)
    hook.remove()
    model.eval()


class _PatchClassifier:
    """An auxiliary linear head on a vision transformer that predicts the class shares of each patch."""

    def __init__(self, vision_config: Any, samples: Sequence[Lesson], device: str) -> None:
        import torch

        self.size, self.patch = vision_config.image_size, vision_config.patch_size
        self.head = torch.nn.Linear(vision_config.hidden_size, len(world.CLASSES)).to(device)
        self.class_weights = lessons.class_weights(samples).to(device)

    def loss(self, hidden_states: Any, batch: Sequence[Lesson]) -> Any:
        """Return the weighted cross entropy between predicted and true class shares of the patches.

        Args:
            hidden_states: (B, 1 + patches, width), last layer; position 0 is the CLS token.
            batch: the B samples.
        """
        import torch

        log_probs = self.head(hidden_states[:, 1:].float()).log_softmax(2)  # (B, patches, classes)
        shares = torch.from_numpy(np.stack([self._shares(sample) for sample in batch])).to(log_probs.device)
        return -(shares * log_probs * self.class_weights).sum(2).mean()

    def _shares(self, sample: Lesson) -> NDArray[np.float32]:
        """Return the share of each class in each patch, (patches, classes)."""
        across, classes = self.size // self.patch, len(world.CLASSES)
        small = Image.fromarray(sample.labels).resize((self.size, self.size), Resampling.NEAREST)
        places = lessons.class_places()[np.asarray(small)]
        tiles = places.reshape(across, self.patch, across, self.patch).swapaxes(1, 2).reshape(across**2, self.patch**2)
        # One bincount for all patches: patch p counts its classes from p * classes on.
        counts = np.bincount((np.arange(across**2)[:, None] * classes + tiles).ravel(), minlength=across**2 * classes)
        return counts.reshape(across**2, classes).astype(np.float32) / np.float32(self.patch**2)


def _inputs(processor: Any, batch: Sequence[Lesson]) -> Any:
    """Return the model inputs of a batch, with the sentences' tokens as labels."""
    inputs = processor(
        images=[sample.photo for sample in batch],
        text=[sample.sentence for sample in batch],
        padding=True,
        return_tensors="pt",
    )
    inputs["input_ids"][:, 0] = processor.tokenizer.bos_token_id  # generation starts with it, so training must too
    inputs["labels"] = inputs["input_ids"].masked_fill(inputs["attention_mask"] == 0, _IGNORED)
    return inputs
