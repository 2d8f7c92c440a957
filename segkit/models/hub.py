"""Where a model's files are: a folder, the Hugging Face cache or the hub; always loaded from a local folder.

No remote code runs (trust_remote_code stays off) and pickles are read by torch's weights_only loader.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from threading import Thread
from typing import Any

from segkit.errors import ModelError

SHORT_NAMES = {
    "oneformer-large": "shi-labs/oneformer_ade20k_swin_large",
    "oneformer-tiny": "shi-labs/oneformer_ade20k_swin_tiny",
    "oneformer-coco": "shi-labs/oneformer_coco_swin_large",
    "mask2former-large": "facebook/mask2former-swin-large-ade-semantic",
    "segformer-b0": "nvidia/segformer-b0-finetuned-ade-512-512",
    "segformer-b5": "nvidia/segformer-b5-finetuned-ade-640-640",
    "blip-base": "Salesforce/blip-image-captioning-base",
    "blip-large": "Salesforce/blip-image-captioning-large",
    "blip2": "Salesforce/blip2-opt-2.7b",
}
TOY = "toy"
"""The short name of the networks that segkit ships; they know the toy world only."""

_SMALL_FILES = ["*.json", "*.txt", "*.model", "*.jinja"]


@dataclass(frozen=True)
class Source:
    """A model on this machine.

    Attributes:
        name: what to call it in records: the hub id, or the folder's name.
        folder: where its files are.
        revision: the hub's commit, or "sha256:" and 16 hex digits over a plain folder's files.
    """

    name: str
    folder: Path
    revision: str


def locate(name: str, option: str) -> Source:
    """Find a model, and tell exactly which one it is. See find for the arguments and errors."""
    name, folder = find(name, option)
    return Source(name, folder, folder.name if "/" in name else _folder_hash(folder))


def find(name: str, option: str) -> tuple[str, Path]:
    """Find a model by folder, short name or hub id; download it where it is missing and the hub answers.

    Args:
        name: a folder with config.json and weights, a short name such as "oneformer-tiny", a hub id, or "toy" for the
            network that segkit ships for this option ("./toy" is a folder).
        option: the command line's option for it.

    Returns:
        The hub id, "toy", or the folder's own name (without "/"); and the folder.

    Raises:
        ModelError: no such folder, files are missing, or the model is neither here nor to be had.
    """
    refuse_broken_torchvision()
    if name == TOY:
        return TOY, shipped(option)
    path = Path(name).expanduser()
    if path.is_dir():
        _require_files(path, option)
        return path.resolve().name, path
    hub_id = SHORT_NAMES.get(name, name)
    if name.startswith((".", "~", "/")) or hub_id.count("/") != 1:
        short = ", ".join((TOY, *SHORT_NAMES))
        raise ModelError(f"{option} {name}: no such folder. Expected a folder, a hub id or one of: {short}.")
    return hub_id, _cached(hub_id) or _download(hub_id, option)


def toy_folder() -> Path:
    """Return the folder of the shipped networks, each in one named as its option: segmenter, captioner, base."""
    return Path(__file__).parent.parent / "toy" / "weights"


def shipped(option: str) -> Path:
    """Return the folder of the toy network for an option of the command line.

    Raises:
        ModelError: it is not there.
    """
    folder = toy_folder() / option.removeprefix("--")
    if not (has_weights(folder) or (folder / "model_index.json").is_file()):
        raise ModelError(
            f"{option} {TOY}: {folder} is not in this installation. Install segkit again, or make the network: "
            f"python -m segkit.toy.learn -o toy-weights ; then pass {option} toy-weights/{folder.name}"
        )
    return folder


@contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers from writing progress bars and advice while it loads or saves; errors are raised anyway."""
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
    """Return the first line of an error of another library, for a message of one line."""
    text = str(error).strip()
    return text.splitlines()[0][:200] if text else type(error).__name__


def has_weights(folder: Path) -> bool:
    """Tell whether a folder holds weights in one of transformers' formats."""
    return any(any(folder.glob(pattern)) for pattern in ("*.safetensors", "*.bin"))


def load_checked(auto_class: Any, source: Source, option: str, **settings: Any) -> Any:
    """Load a network in fp32 and refuse one whose weights are incomplete: transformers would fill them with noise.

    Raises:
        ModelError: the file is damaged, of another architecture, lacks weights or holds NaN.
    """
    import torch

    try:
        with quiet():
            model, report = auto_class.from_pretrained(
                str(source.folder),
                dtype=torch.float32,  # transformers takes the file's own: see device.Device
                local_files_only=True,
                output_loading_info=True,
                **settings,
            )
    except Exception as error:  # safetensors, pickle, JSON, size and key errors have no common base
        kind = type(error).__name__
        raise ModelError(f"{option} {source.folder}: cannot be loaded ({kind}: {reason(error)}).") from error
    missing = sorted(report["missing_keys"])
    if missing:
        raise ModelError(
            f"{option} {source.folder}: {len(missing)} weights are missing, such as {missing[0]}. "
            "The file is incomplete or of another model; download it again."
        )
    broken = [name for name, weight in model.named_parameters() if not bool(weight.isfinite().all())]
    if broken:
        raise ModelError(
            f"{option} {source.folder}: {len(broken)} weights are NaN or infinite, such as {broken[0]}. "
            "The file is damaged, or its training diverged; download it again."
        )
    return model.eval()


def check_tokenizer(tokenizer: Any, folder: Path, option: str) -> None:
    """Refuse the tokenizer of a few special tokens that transformers makes up for a folder without its files.

    Raises:
        ModelError: the files are missing, or the vocabulary is no more than the special tokens.
    """
    names = {path.name for path in folder.iterdir()}
    complete = names & {"tokenizer.json", "vocab.txt", "spiece.model", "tokenizer.model"} or (
        {"vocab.json", "merges.txt"} <= names
    )
    if not complete or len(tokenizer) <= len(tokenizer.all_special_tokens):
        raise ModelError(
            f"{option} {folder}: the tokenizer's files are missing, every word would become the same token. "
            "Expected tokenizer.json, vocab.txt, or vocab.json and merges.txt; download them again."
        )


def _require_files(folder: Path, option: str) -> None:
    if not (folder / "config.json").is_file():
        raise ModelError(f"{option} {folder}: no config.json in it. Expected a folder in transformers' format.")
    if not has_weights(folder):
        raise ModelError(f"{option} {folder}: no weights in it. Expected model.safetensors (or pytorch_model.bin).")


def _folder_hash(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix in (".json", ".safetensors", ".bin", ".txt", ".model"):
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return "sha256:" + digest.hexdigest()[:16]


def _cached(hub_id: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(hub_id, "config.json")
    folder = Path(found).parent if isinstance(found, str) else None
    return folder if folder and has_weights(folder) else None


def _download(hub_id: str, option: str) -> Path:
    from huggingface_hub import HfApi, snapshot_download

    if not hub_answers():
        raise ModelError(_advice(hub_id, option, "the hub does not answer"))
    try:
        files = HfApi().list_repo_files(hub_id)
        weights = "*.safetensors" if any(name.endswith(".safetensors") for name in files) else "*.bin"
        return Path(snapshot_download(hub_id, allow_patterns=[*_SMALL_FILES, weights]))
    except Exception as error:  # HTTP, repository, permission and disk errors have no common base
        raise ModelError(_advice(hub_id, option, f"cannot be downloaded ({reason(error)})")) from None


def _advice(hub_id: str, option: str, why: str) -> str:
    folder = hub_id.split("/")[1]
    return (
        f"{option} {hub_id} is not on this machine and {why}. Where there is a network, type: "
        f"hf download {hub_id} --local-dir {folder} ; bring the folder here and pass it: {option} {folder}. "
        "To see segkit work without weights: segkit demo"
    )


@cache
def hub_answers(timeout: float = 3.0) -> bool:
    """Tell whether the hub can be reached: huggingface_hub alone would try for 25 seconds and more, file by file.

    Asked once in a process, and in a thread, since a name server that hangs heeds no timeout.
    """
    from huggingface_hub import constants, get_session

    if constants.HF_HUB_OFFLINE:
        return False
    codes: list[int] = []

    def ask() -> None:
        with suppress(Exception):  # no route, a proxy that refuses, a bad certificate
            codes.append(get_session().head(constants.ENDPOINT, timeout=timeout).status_code)

    thread = Thread(target=ask, daemon=True)
    thread.start()
    thread.join(timeout + 1)
    return any(code < 500 for code in codes)


def refuse_broken_torchvision() -> None:
    """Say in words what is wrong where transformers would fail with a missing module.

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
            f"torchvision is installed but broken ({reason(error)}), and transformers fails with it. "
            "segkit does not need it: pip uninstall torchvision"
        ) from None
