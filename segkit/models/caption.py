"""Captioners: any image-text-to-text network of transformers; BLIP by default."""

from collections.abc import Callable, Sequence
from typing import Any

from PIL import Image

from segkit.errors import ModelError
from segkit.models import config, hub
from segkit.models.device import Device

ROLE = "captioner"
INSTRUCTION = "Describe this picture in one sentence."
"""The default instruction for chat models. BLIP, BLIP-2 and GIT caption without one."""

Captioner = Callable[[Sequence[Image.Image]], list[str]]
"""Maps RGB photos of any sizes to one caption each. Any function will do, in tests for example."""


class NeuralCaptioner:
    """A network with its processor, loaded from files; a Captioner.

    Args:
        name: a folder, a short name (hub.SHORT_NAMES) or a hub id.
        device: the device to run on, and the precision.
        max_tokens: maximum length of a caption, in the network's own tokens.
        beams: width of the beam search; 1 is greedy search.
        task: text prompt: Florence-2's task token, such as "<DETAILED_CAPTION>", a chat model's instruction in place
            of INSTRUCTION, or the beginning of the caption for BLIP. "": none.

    Raises:
        ModelError: the model is missing, damaged, not a captioner or needs remote code, or it needs another task.
    """

    def __init__(self, name: str, device: Device, max_tokens: int = 40, beams: int = 1, task: str = "") -> None:
        self.source = hub.locate(name, ROLE)
        self._device = device
        self._settings = {"max_new_tokens": max_tokens, "num_beams": beams, "do_sample": False}
        self._task = task
        self._model = _load_model(self.source, task).to(device.name)
        self._processor = _load_processor(self.source)
        _check_task(self._processor, task, self.source.folder)

    @property
    def parameters(self) -> int:
        """Number of parameters."""
        return sum(weight.numel() for weight in self._model.parameters())

    def __call__(self, photos: Sequence[Image.Image]) -> list[str]:
        """Caption RGB photos of any sizes.

        All photos get the same prompt: BLIP's predictions are wrong for batches of prompts that differ in length.

        Raises:
            ModelError: the network needs a prompt of another kind.
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
                f"{ROLE} {self.source.folder}: cannot be prompted for a caption ({hub.reason(error)}). Expected BLIP, "
                "BLIP-2, GIT, Florence-2, or a chat model with a chat template; others may need a caption_task=TASK."
            ) from error
        texts = self._processor.batch_decode(_strip_prompt(inputs, tokens), skip_special_tokens=True)
        return [" ".join(self._post_process(text, photo).split()) for text, photo in zip(texts, photos, strict=True)]

    def _inputs(self, photos: Sequence[Image.Image]) -> Any:
        if not getattr(self._processor, "chat_template", None):
            text = {"text": [self._task] * len(photos)} if self._task else {}
            return self._processor(images=list(photos), return_tensors="pt", **text)
        question = {"type": "text", "text": self._task or INSTRUCTION}
        return self._processor.apply_chat_template(
            [[{"role": "user", "content": [{"type": "image", "image": photo}, question]}] for photo in photos],
            add_generation_prompt=True,
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            processor_kwargs={"padding": True},
        )

    def _post_process(self, text: str, photo: Image.Image) -> str:
        """Return a decoded answer as plain text; Florence-2's processor parses the answer by task."""
        if not _text_tasks(self._processor):
            return text
        answers = self._processor.post_process_generation(text=text, task=self._task, image_size=photo.size)
        return str(answers[self._task])


def _strip_prompt(inputs: Any, tokens: Any) -> Any:
    """Remove the prompt from generated tokens, (B, length), if it is there: some networks return the answer only."""
    prompt = inputs.get("input_ids")
    if prompt is None:
        return tokens
    length = prompt.shape[1]
    repeated = tokens.shape[1] >= length and bool((tokens[:, :length] == prompt).all())
    return tokens[:, length:] if repeated else tokens


def _text_tasks(processor: Any) -> list[str]:
    """Return the captioning tasks of Florence-2's processor, which are answered in plain text; none for others."""
    answer_types = getattr(processor, "tasks_answer_post_processing_type", {})
    tasks = getattr(processor, "task_prompts_without_inputs", {})
    return [task for task in tasks if "CAPTION" in task and answer_types.get(task) == "pure_text"]


def _check_task(processor: Any, task: str, folder: Any) -> None:
    tasks = _text_tasks(processor)
    if tasks and task not in tasks:
        expected = ", ".join(f'"{name}"' for name in tasks)
        raise ModelError(
            f"{ROLE} {folder}: {task} is not a captioning task. Pass caption_task=TASK, one of {expected}."
        )


def _load_model(source: hub.Source, task: str) -> Any:
    from transformers import AutoModelForImageTextToText

    configuration = config.load(source.folder, ROLE)
    if type(configuration) not in AutoModelForImageTextToText._model_mapping:
        raise ModelError(
            f"{ROLE} {source.folder}: a model of type {configuration.model_type} does not caption. "
            "Expected an image-text-to-text model, such as BLIP, Florence-2 or LLaVA."
        )
    if configuration.model_type == "florence2" and not task:
        raise ModelError(
            f'{ROLE} {source.folder}: Florence-2 needs a task token. Pass caption_task="<DETAILED_CAPTION>", '
            '"<CAPTION>" or "<MORE_DETAILED_CAPTION>".'
        )
    return hub.load_checked(AutoModelForImageTextToText, source, ROLE, config=configuration)


def _load_processor(source: hub.Source) -> Any:
    folder = str(source.folder)
    try:
        processor = _auto_processor(folder)
        tokenizer = processor.tokenizer
    except Exception as error:  # missing or broken files raise OSError, ValueError, KeyError, AttributeError
        what = hub.reason(error).partition(". ")[0].rstrip(".")
        cure = " Install it: pip install torchvision" if "torchvision" in what.lower() else ""
        raise ModelError(f"{ROLE} {folder}: the processor cannot be loaded ({what}).{cure}") from None
    hub.check_tokenizer(tokenizer, source.folder, ROLE)
    tokenizer.padding_side = "left"  # generation continues at the right end
    return processor


def _auto_processor(folder: str) -> Any:
    """Load a processor with the Pillow backend, whose results do not depend on whether torchvision is installed."""
    from transformers import AutoProcessor

    try:
        return AutoProcessor.from_pretrained(folder, backend="pil", local_files_only=True)
    except ImportError:  # Qwen-VL and SmolVLM2 also load a video processor, which has no Pillow backend
        return AutoProcessor.from_pretrained(folder, local_files_only=True)
