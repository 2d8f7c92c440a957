"""Networks that turn pictures into vectors: FID's Inception from a file, or any vision model of transformers."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segkit import storage
from segkit.errors import ModelError
from segkit.models import config, hub, processors, segment, tokens
from segkit.models.device import Device

FEATURES = "features"
"""Role and option of the network whose features KID and FID compare."""

CLIP = "clip"
"""Role and option of the CLIP that compares pictures with their prompts."""

INCEPTION = "Inception"
"""Name of FID's network, whose KID and FID are those of papers."""

_FILES = (".pth", ".pt", ".ckpt", ".safetensors")

_CLASS_TOKEN = ("deit", "vit")
"""Model types whose pooled output needs weights that most files lack; the class token takes its place."""

Vector = NDArray[np.float32]
Embed = Callable[[Image.Image], Vector]


@dataclass(frozen=True)
class Extractor:
    """A network that returns a vector of a picture.

    Attributes:
        embed: maps an RGB picture to its features, (D,) float32.
        identity: name, and what decides the vectors: they are computed again if it changes.
    """

    embed: Embed
    identity: dict[str, str]

    @property
    def name(self) -> str:
        """The network's name in reports."""
        return self.identity["name"]


@dataclass(frozen=True)
class Clip:
    """A CLIP: pictures and prompts become vectors that can be compared.

    Attributes:
        pictures: the vectors of pictures, (D,) float32, not normalised.
        embed_text: the vector of a prompt. One that is too long is cut before its end token, which CLIP's own code
            does too; torchmetrics cuts the end token off as well, and reads the vector of the start token.
        is_truncated: whether a prompt has more tokens than CLIP reads.
        tokens: the most tokens that it reads.
    """

    pictures: Extractor
    embed_text: Callable[[str], Vector]
    is_truncated: Callable[[str], bool]
    tokens: int


def load_features(name: str, device: Device) -> Extractor:
    """Load the network whose features KID and FID compare; it computes in fp32, whatever the pictures' precision.

    Args:
        name: a file with the weights of FID's Inception; or a folder, a short name or a hub id of a vision model:
            features are a CLIP's image embedding, or the pooled output, or the class token of a ViT. "toy-judge" is
            the encoder of the toy world's judge.
        device: where it runs.

    Raises:
        ModelError: it is missing, damaged or of another kind, or a pickle that asks for code.
    """
    from transformers import AutoModel

    path = Path(name).expanduser()
    if path.is_file() or (path.suffix in _FILES and not path.is_dir()):
        return _inception(path, device)
    toy = name in (hub.TOY, hub.TOY_JUDGE)
    source = hub.locate(hub.TOY_JUDGE, segment.ROLE) if toy else hub.locate(name, FEATURES)
    configuration = config.load(source.folder, FEATURES)
    extra = {"add_pooling_layer": False} if configuration.model_type in _CLASS_TOKEN else {}
    model = hub.load_checked(AutoModel, source, FEATURES, config=configuration, **extra)
    return _vision_model(source, model, device, FEATURES)


def load_clip(name: str, device: Device) -> Clip:
    """Load a CLIP; it computes in fp32.

    Args:
        name: a folder, a short name or a hub id.
        device: where it runs.

    Raises:
        ModelError: it is missing, damaged, or not a CLIP.
    """
    import torch
    from transformers import CLIPModel

    if name == hub.TOY:
        raise ModelError(f"{CLIP} {name}: no such network is shipped. Expected a CLIP, such as clip-base.")
    source = hub.locate(name, CLIP)
    configuration = config.load(source.folder, CLIP)
    if configuration.model_type != "clip":
        raise ModelError(
            f"{CLIP} {source.folder}: a model of type {configuration.model_type}. Expected a CLIP, such as clip-base."
        )
    model = hub.load_checked(CLIPModel, source, CLIP, config=configuration)
    tokenizer = tokens.load(str(source.folder))
    longest = int(model.config.text_config.max_position_embeddings)

    def embed_text(prompt: str) -> Vector:
        inputs = tokenizer(prompt, truncation=True, max_length=longest, return_tensors="pt").to(device.name)
        with torch.inference_mode(), device.exact():
            outputs = model.get_text_features(inputs["input_ids"], inputs["attention_mask"])
        return _vector(outputs, source.folder, CLIP)

    def is_truncated(prompt: str) -> bool:
        with hub.quiet():
            return len(tokenizer(prompt)["input_ids"]) > longest

    return Clip(_vision_model(source, model, device, CLIP), embed_text, is_truncated, longest)


def _inception(path: Path, device: Device) -> Extractor:
    import torch

    from trainer.evaluate.quality import inception

    network = inception.load(path).to(device.name)

    def embed(picture: Image.Image) -> Vector:
        pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].to(device.name)
        with torch.inference_mode(), device.exact():
            return _vector(network(pixels), path, FEATURES)

    return Extractor(embed, {"name": INCEPTION, "weights": storage.sha256(path.read_bytes())})


def _vision_model(source: hub.Source, model: Any, device: Device, role: str) -> Extractor:
    """Return the extractor of a loaded model and its image processor."""
    import torch

    processor = processors.load(source.folder, role)
    model.to(device.name)
    run = getattr(model, "get_image_features", model)

    def embed(picture: Image.Image) -> Vector:
        inputs = processor(images=[picture], return_tensors="pt").to(device.name)
        with torch.inference_mode(), device.exact():
            return _vector(run(pixel_values=inputs["pixel_values"]), source.folder, role)

    return Extractor(embed, source.identity)


def _vector(outputs: Any, source: Path, role: str) -> Vector:
    """Return the only vector in a network's outputs: a tensor, the pooled output, the class token, or a mean.

    Raises:
        ModelError: the network has none of them, or its vector is not finite.
    """
    import torch

    vector = outputs if isinstance(outputs, torch.Tensor) else outputs.get("pooler_output")
    if vector is None:
        hidden = outputs["last_hidden_state"] if "last_hidden_state" in outputs else torch.empty(0)
        if hidden.ndim not in (3, 4):
            raise ModelError(f"{role} {source}: the network returns no picture features. Use another one.")
        vector = hidden[:, 0] if hidden.ndim == 3 else hidden.mean((2, 3))  # a ViT's tokens; an encoder's (B, C, H, W)
    if not bool(vector.isfinite().all()):
        raise ModelError(f"{role} {source}: the network returned NaN or infinite features.")
    return np.asarray(vector.float().cpu().numpy().reshape(-1), np.float32)
