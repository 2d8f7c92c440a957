"""Captioners: any image-text-to-text network of transformers; BLIP by default."""

from collections.abc import Callable, Sequence
from typing import Any

from PIL import Image

from segkit.errors import ModelError
from segkit.models import hub
from segkit.models.device import Device

OPTION = "--captioner"
INSTRUCTION = "Describe this picture in one sentence."
"""What chat models are asked; BLIP and its kin need no question."""

Captioner = Callable[[Sequence[Image.Image]], list[str]]
"""Takes RGB photos of any sizes, gives a caption each. A test passes a function."""


class NeuralCaptioner:
    """A loaded network and its processor. Calling it captions a batch of photos.

    Args:
        name: a folder, a short name (hub.SHORT_NAMES) or a hub id.
        device: where and how to run.
        max_tokens: length of a caption, at most, in the network's own tokens.
        beams: width of the beam search; 1 is greedy.

    Raises:
        ModelError: the model is missing, damaged, or no captioner.
    """

    def __init__(self, name: str, device: Device, max_tokens: int = 40, beams: int = 1) -> None:
        self.source = hub.locate(name, OPTION)
        self._device = device
        self._settings = {"max_new_tokens": max_tokens, "num_beams": beams, "do_sample": False}
        self._model = _load(self.source).to(device.name)
        self._processor = _processor(self.source)

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return sum(weight.numel() for weight in self._model.parameters())

    def __call__(self, photos: Sequence[Image.Image]) -> list[str]:
        """Caption photos. Every picture gets the same question, since BLIP misreads batches of unequal prompts.

        Raises:
            ModelError: the network wants to be asked in a way of its own.
        """
        import torch

        if not photos:
            return []
        try:
            inputs = self._inputs(photos).to(self._device.name)
            with torch.inference_mode(), self._device.autocast():
                tokens = self._model.generate(**inputs, **self._settings)
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            raise ModelError(
                f"{OPTION} {self.source.folder}: it cannot be asked for a caption ({hub.reason(error)}). "
                "Expected BLIP, BLIP-2, GIT or a chat model with a chat template."
            ) from error
        texts = self._processor.batch_decode(_answers(inputs, tokens), skip_special_tokens=True)
        return [" ".join(text.split()) for text in texts]

    def _inputs(self, photos: Sequence[Image.Image]) -> Any:
        if not getattr(self._processor, "chat_template", None):
            return self._processor(images=list(photos), return_tensors="pt")
        question = {"type": "text", "text": INSTRUCTION}
        return self._processor.apply_chat_template(
            [[{"role": "user", "content": [{"type": "image", "image": photo}, question]}] for photo in photos],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            processor_kwargs={"padding": True},
        )


def _answers(inputs: Any, tokens: Any) -> Any:
    """Cut off the question, (B, asked), where the network repeats it; some return the new tokens only."""
    asked = inputs.get("input_ids")
    if asked is None:
        return tokens
    length = asked.shape[1]
    repeated = tokens.shape[1] >= length and bool((tokens[:, :length] == asked).all())
    return tokens[:, length:] if repeated else tokens


def _load(source: hub.Source) -> Any:
    from transformers import AutoModelForImageTextToText

    return hub.load_checked(AutoModelForImageTextToText, source, OPTION)


def _processor(source: hub.Source) -> Any:
    from transformers import AutoProcessor

    folder = str(source.folder)
    try:
        processor = AutoProcessor.from_pretrained(folder, backend="pil", local_files_only=True)
        tokenizer = processor.tokenizer
    except Exception as error:  # missing or broken files raise OSError, ValueError, KeyError, AttributeError
        raise ModelError(f"{OPTION} {folder}: its processor cannot be loaded ({hub.reason(error)}).") from None
    hub.check_tokenizer(tokenizer, source.folder, OPTION)
    tokenizer.padding_side = "left"  # generation continues at the right end
    return processor
