"""Locate model files: in a folder, in the Hugging Face cache or on the hub. Models always load from a local folder.

Code that comes with a model is never run: models that need it are refused. Pickles go through torch's weights_only
loader.
"""

import hashlib
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from threading import Thread
from typing import Any

from segkit.errors import ModelError, UnknownModelError
from segkit.models import config
from segkit.words import are

SHORT_NAMES = {
    "segmenter": {
        "oneformer-large": "shi-labs/oneformer_ade20k_swin_large",
        "oneformer-tiny": "shi-labs/oneformer_ade20k_swin_tiny",
        "oneformer-coco": "shi-labs/oneformer_coco_swin_large",
        "eomt-large": "tue-mps/ade20k_semantic_eomt_large_512",
        "mask2former-large": "facebook/mask2former-swin-large-ade-semantic",
        "segformer-b0": "nvidia/segformer-b0-finetuned-ade-512-512",
        "segformer-b5": "nvidia/segformer-b5-finetuned-ade-640-640",
    },
    "captioner": {
        "blip-base": "Salesforce/blip-image-captioning-base",
        "blip-large": "Salesforce/blip-image-captioning-large",
        "blip2": "Salesforce/blip2-opt-2.7b",
        "florence2-base": "florence-community/Florence-2-base",
        "florence2-large": "florence-community/Florence-2-large",
        "joycaption": "fancyfeast/llama-joycaption-beta-one-hf-llava",
        "qwen2.5-vl": "Qwen/Qwen2.5-VL-7B-Instruct",
        "qwen3-vl": "Qwen/Qwen3-VL-4B-Instruct",
        "smolvlm": "HuggingFaceTB/SmolVLM-Instruct",
    },
    "assist": {
        "sam": "facebook/sam-vit-base",
        "sam-large": "facebook/sam-vit-large",
        "sam-huge": "facebook/sam-vit-huge",
        "sam2": "facebook/sam2.1-hiera-small",
        "sam2-tiny": "facebook/sam2.1-hiera-tiny",
        "sam2-small": "facebook/sam2.1-hiera-small",
        "sam2-large": "facebook/sam2.1-hiera-large",
    },
    "features": {
        "dinov2-base": "facebook/dinov2-base",
        "dinov2-large": "facebook/dinov2-large",
    },
    "clip": {
        "clip-base": "openai/clip-vit-base-patch16",
        "clip-large": "openai/clip-vit-large-patch14",
    },
}
"""Hub ids by role and short name."""
TOY = "toy"
"""Short name of the networks shipped with segkit, which know the toy world only."""
TOY_JUDGE = "toy-judge"
"""Short name of a second toy segmenter, for judging pictures; it has nothing in common with the first."""
TOY_SDXL = "toy-sdxl"
"""Short name of a second toy base, of Stable Diffusion XL's structure."""
TOY_BASES = (TOY, TOY_SDXL)

_SHIPPED = {
    "segmenter": {TOY: "segmenter", TOY_JUDGE: "judge"},
    "captioner": {TOY: "captioner"},
    "base": {TOY: "base", TOY_SDXL: "base-sdxl"},
    "features": {TOY: "judge", TOY_JUDGE: "judge"},
}
"""Folders of the shipped networks by role and short name; no other role has one."""

_HASHED = (".json", ".safetensors", ".bin", ".txt", ".model")
"""Files that decide what a network computes."""

_SMALL_FILES = ["*.json", "*.txt", "*.model", "*.jinja"]
"""Everything but the weights. Without *.py: code is not even downloaded."""


@dataclass(frozen=True)
class Source:
    """A model on this machine.

    Attributes:
        name: its name in records: the hub id, or the folder's name.
        folder: the folder with its files.
        revision: the hub's commit; for a plain folder "sha256:" and 16 hex digits over its files.
        weights: SHA-256 of the file of weights; of several files, of their digests in the order of their names;
            "" if there are none.
    """

    name: str
    folder: Path
    revision: str
    weights: str = ""

    @property
    def identity(self) -> dict[str, str]:
        """Name, revision and hash of the weights, as Info.models records them."""
        return {"name": self.name, "revision": self.revision, "weights": self.weights}


def locate(name: str, role: str) -> Source:
    """Find a model and identify its exact version. See `find` for arguments and errors."""
    name, folder = find(name, role)
    digests = {path.name: _file_hash(path) for path in sorted(folder.iterdir()) if path.suffix in _HASHED}
    # Only hub ids contain a slash; the cache names their snapshot folders after the commit.
    revision = folder.name if "/" in name else "sha256:" + sha256(b"".join(digests.values())).hexdigest()[:16]
    return Source(name, folder, revision, _weights_hash(digests))


def find(name: str, role: str, setting: str = "") -> tuple[str, Path]:
    """Find a model by folder, short name or hub id, and download it if it is missing and the hub answers.

    Args:
        name: a folder with config.json and weights, a short name such as "oneformer-tiny", a hub id, "toy" for the
            network shipped with segkit ("./toy" is a folder), or "toy-judge" for its second segmenter.
        role: "segmenter", "captioner", "assist", "features" or "clip".
        setting: name of the setting, for messages, if it is not the role's, such as "judge".

    Returns:
        The hub id, "toy", "toy-judge" or the folder's own name (without "/"); and the folder.

    Raises:
        UnknownModelError: no such folder.
        ModelError: a file is missing, or the model is neither on this machine nor downloadable.
    """
    refuse_broken_torchvision()
    setting = setting or role
    if name in _SHIPPED.get(role, {}):
        return name, shipped(role, name)
    path = Path(name).expanduser()
    if path.is_dir():
        _require_files(path, setting)
        return path.resolve().name, path
    require_known(name, role, setting)
    hub_id = SHORT_NAMES[role].get(name, name)
    return hub_id, _cached(hub_id) or _download(hub_id, role, setting)


def require_known(name: str, role: str, setting: str = "") -> None:
    """Check a name that may not be needed: neither the hub nor the cache is asked. See `find` for the arguments.

    Raises:
        UnknownModelError: it is neither a folder, nor a short name, nor has it the form of a hub id.
    """
    if name in _SHIPPED.get(role, {}) or Path(name).expanduser().is_dir():
        return
    if name.startswith((".", "~", "/")) or SHORT_NAMES[role].get(name, name).count("/") != 1:
        short_names = ", ".join((*_SHIPPED.get(role, ()), *SHORT_NAMES[role]))
        raise UnknownModelError(
            f"{setting or role} {name}: no such folder. Expected a folder, a hub id or one of: {short_names}."
        )


def toy_folder() -> Path:
    """Return the folder of the shipped networks: segmenter, captioner, base, base-sdxl and judge."""
    return Path(__file__).parent.parent / "toy" / "weights"


def shipped(role: str, name: str = TOY) -> Path:
    """Return the folder of a shipped network.

    Args:
        role: "segmenter", "captioner", "features" or "base"; also the name of the command-line option.
        name: its short name: "toy"; "toy-judge", a segmenter; or "toy-sdxl", a base.

    Raises:
        ModelError: the installation lacks it.
    """
    folder = toy_folder() / _SHIPPED[role][name]
    if not (has_weights(folder) or (folder / "model_index.json").is_file()):
        raise ModelError(
            f"{role} {name}: {folder} is missing from this installation. Reinstall segkit, or train the network with "
            f"python -m segkit.toy.learn -o toy-weights and pass {role}=toy-weights/{folder.name}"
        )
    return folder


@contextmanager
def quiet() -> Iterator[None]:
    """Silence transformers' progress bars and warnings while it loads or saves; exceptions still propagate."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def reason(error: Exception) -> str:
    """Return the first line of another library's error, for a one-line message."""
    text = str(error).strip()
    return text.splitlines()[0][:200] if text else type(error).__name__


def unavailable(error: Exception) -> str:
    """Return why a download failed."""
    return reason(error) if hub_answers() else "the hub does not answer"


def has_weights(folder: Path) -> bool:
    """Return whether a folder holds weights in one of transformers' formats."""
    return any(any(folder.glob(pattern)) for pattern in ("*.safetensors", "*.bin"))


def load_checked(auto_class: Any, source: Source, role: str, **settings: Any) -> Any:
    """Load a network in fp32 and eval mode, and refuse incomplete weights, which transformers would fill with noise.

    Args:
        auto_class: one of transformers' AutoModel classes.
        source: the model.
        role: "segmenter" or "captioner", for messages.
        settings: further arguments of from_pretrained.

    Raises:
        ModelError: the weights are damaged, incomplete, of another architecture, or contain NaN.
    """
    import torch

    try:
        with quiet():
            model, report = auto_class.from_pretrained(
                str(source.folder),
                dtype=torch.float32,  # transformers' default is the file's dtype; device.Device says why fp32
                local_files_only=True,
                output_loading_info=True,
                **settings,
            )
    except Exception as error:  # safetensors, pickle, JSON, size and key errors have no common base
        kind = type(error).__name__
        raise ModelError(f"{role} {source.folder}: cannot be loaded ({kind}: {reason(error)}).") from error
    missing = sorted(report["missing_keys"])
    if missing:
        raise ModelError(
            f"{role} {source.folder}: {are(len(missing), 'weight')} missing, such as {missing[0]}. "
            "The file is incomplete or belongs to another model. Download it again."
        )
    broken = [name for name, weight in model.named_parameters() if not bool(weight.isfinite().all())]
    if broken:
        raise ModelError(
            f"{role} {source.folder}: {are(len(broken), 'weight')} NaN or infinite, such as {broken[0]}. "
            "The file is damaged or its training diverged. Download it again."
        )
    return model.eval()


def check_tokenizer(tokenizer: Any, folder: Path, role: str) -> None:
    """Refuse a tokenizer whose files are missing.

    For a folder without them, transformers silently creates a tokenizer of special tokens only, which maps every word
    to the same token.

    Raises:
        ModelError: the files are missing, or the vocabulary consists of special tokens only.
    """
    names = {path.name for path in folder.iterdir()}
    complete = names & {"tokenizer.json", "vocab.txt", "spiece.model", "tokenizer.model"} or (
        {"vocab.json", "merges.txt"} <= names
    )
    if not complete or len(tokenizer) <= len(tokenizer.all_special_tokens):
        raise ModelError(
            f"{role} {folder}: the tokenizer's files are missing, so every word would become the same token. "
            "Expected tokenizer.json, vocab.txt, or vocab.json and merges.txt. Download them again."
        )


def _require_files(folder: Path, setting: str) -> None:
    if not (folder / "config.json").is_file():
        raise ModelError(f"{setting} {folder}: config.json is missing. Expected a folder in transformers' format.")
    if not has_weights(folder):
        raise ModelError(f"{setting} {folder}: weights are missing. Expected model.safetensors or pytorch_model.bin.")


def _file_hash(path: Path) -> bytes:
    """Return the SHA-256 of a file.

    The hub's cache stores large files under their SHA-256, and a snapshot links to them, so that gigabytes need not be
    read again.
    """
    name = path.readlink().name if path.is_symlink() else ""
    if re.fullmatch(r"[0-9a-f]{64}", name) and path.resolve().parent.name == "blobs":
        return bytes.fromhex(name)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _weights_hash(digests: dict[str, bytes]) -> str:
    """Return one SHA-256 for the files of weights that transformers loads, which prefers safetensors."""
    for suffix in (".safetensors", ".bin"):
        weights = [digest for name, digest in digests.items() if name.endswith(suffix)]
        if weights:
            return (weights[0] if len(weights) == 1 else sha256(b"".join(weights)).digest()).hex()
    return ""


def _cached(hub_id: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    path = try_to_load_from_cache(hub_id, "config.json")  # None or a sentinel object if it is not cached
    folder = Path(path).parent if isinstance(path, str) else None
    return folder if folder and has_weights(folder) else None


def _download(hub_id: str, role: str, setting: str) -> Path:
    from huggingface_hub import HfApi, snapshot_download

    if not hub_answers():
        raise ModelError(_unavailable(hub_id, setting, "the hub does not answer"))
    try:
        files = HfApi().list_repo_files(hub_id)
        # Before gigabytes of weights: does transformers support the model at all?
        config.refuse_remote_code(Path(snapshot_download(hub_id, allow_patterns=_SMALL_FILES)), hub_id, role)
        weights = "*.safetensors" if any(name.endswith(".safetensors") for name in files) else "*.bin"
        return Path(snapshot_download(hub_id, allow_patterns=[*_SMALL_FILES, weights]))
    except ModelError:
        raise
    except Exception as error:  # HTTP, repository, permission and disk errors have no common base
        raise ModelError(_unavailable(hub_id, setting, f"the download failed ({reason(error)})")) from None


def _unavailable(hub_id: str, setting: str, why: str) -> str:
    folder = hub_id.split("/")[1]
    return (
        f"{setting} {hub_id} is not on this machine, and {why}. On a machine with network access, run: "
        f"hf download {hub_id} --local-dir {folder} ; copy the folder here and pass {setting}={folder} . "
        "To try segkit without weights: segkit demo"
    )


@cache
def hub_answers(timeout: float = 3.0) -> bool:
    """Return whether the hub is reachable. The answer is cached for the lifetime of the process.

    huggingface_hub alone would retry for 25 seconds or more for every file.

    Args:
        timeout: seconds to wait for an answer.
    """
    from huggingface_hub import constants, get_session

    if constants.HF_HUB_OFFLINE:
        return False
    codes: list[int] = []

    def ask() -> None:
        with suppress(Exception):  # no route, a refusing proxy, a bad certificate
            codes.append(get_session().head(constants.ENDPOINT, timeout=timeout).status_code)

    # In a thread, because the request's timeout does not cover a hanging name server.
    thread = Thread(target=ask, daemon=True)
    thread.start()
    thread.join(timeout + 1)
    return any(code < 500 for code in codes)


def refuse_broken_torchvision() -> None:
    """Report a broken torchvision clearly; transformers would fail with a misleading "Could not import module".

    Raises:
        ModelError: torchvision is installed but cannot be imported.
    """
    from importlib import import_module
    from importlib.util import find_spec

    if find_spec("torchvision") is None:
        return
    try:
        import_module("torchvision")
    except Exception as error:  # RuntimeError: operator torchvision::nms does not exist, ImportError, OSError
        raise ModelError(
            f"torchvision is installed but broken ({reason(error)}), which breaks transformers too. "
            "segkit does not need it: pip uninstall torchvision"
        ) from None
