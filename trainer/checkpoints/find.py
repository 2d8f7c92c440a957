"""Find the base and the ControlNet by name: on the disk, in the Hugging Face cache or on the hub.

Nothing is loaded, so a name that is wrong or unavailable is reported before anything slow starts.
"""

from fnmatch import fnmatch
from pathlib import Path

from segkit.errors import ModelError
from segkit.models import hub
from trainer.checkpoints import runs, store
from trainer.checkpoints.runs import Weights
from trainer.settings import SEG, networks

FRESH = networks.FRESH

_COMPONENTS = ("unet", "vae", "text_encoder", "scheduler")
_HUB_FILES = ["model_index.json", "*/*.json", "*/merges.txt"]


def find_networks(base: str, controlnet: str, instead: str) -> Weights | None:
    """Find a base and a ControlNet.

    Args:
        base: as for load.load_base.
        controlnet: as for load.load_controlnet.
        instead: what to use if nobody asked for the released ControlNet, and it is unavailable: "controlnet=fresh".

    Returns:
        Where the ControlNet is; None for a fresh one.

    Raises:
        ModelError: one of them is missing or unavailable, or the released ControlNet was to be used with a toy base.
    """
    if controlnet == SEG and base in hub.TOY_BASES:
        raise ModelError(
            f"controlnet={SEG} was made for Stable Diffusion 1.5 and does not fit base={base}. Use {instead}"
        )
    try:
        weights = None if controlnet == FRESH else find_controlnet(controlnet)
    except ModelError as error:
        raise ModelError(f"{error} ; otherwise use {instead}" if controlnet == SEG else str(error)) from None
    find_base(base)
    return weights


def find_base(name: str) -> Path:
    """Return a base's file or diffusers folder.

    Raises:
        ModelError: there is no such file or folder, and the hub does not have it or does not answer; or the folder
            lacks a component.
    """
    path = Path(name).expanduser()
    if path.is_file():
        return path
    folder = hub.shipped("base", name) if name in hub.TOY_BASES else path if path.is_dir() else _base_from_hub(name)
    missing = [part for part in _COMPONENTS if not (folder / part).is_dir()]
    if missing:
        raise ModelError(
            f"base={name}: contains no {' and no '.join(missing)}. Expected a diffusers folder of Stable Diffusion, "
            "or a .safetensors file."
        )
    return folder


def find_controlnet(name: str) -> Weights:
    """Return a ControlNet's file or diffusers folder.

    Args:
        name: as for load.load_controlnet; a fresh ControlNet has no file.

    Raises:
        ModelError: there is no such file or folder, and the hub does not have it or does not answer; or a run has
            neither a result nor a whole checkpoint.
    """
    path = Path(name).expanduser()
    if path.is_file():
        return Weights(name, path)
    folder = path if path.is_dir() else _controlnet_from_hub(name)
    if (folder / "run.toml").is_file():
        return runs.of_run(folder, name)
    if checkpoint := store.opened(folder):
        return runs.of_checkpoint(checkpoint, name)
    return Weights(name, folder / runs.FOLDER if (folder / runs.FOLDER).is_dir() else folder)


def _base_from_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download

    if name.startswith((".", "~", "/")) or name.count("/") != 1:
        raise ModelError(f"base={name}: no such file or folder. Expected one, or a hub id such as OWNER/NAME.")
    try:
        patterns = [*_HUB_FILES, *_weights_patterns(_files_on_hub(name), "*/*")]
        return Path(snapshot_download(name, allow_patterns=patterns, local_files_only=not hub.hub_answers()))
    except Exception as error:  # errors of the hub, the network and the disk share no base class
        raise ModelError(_unavailable(f"base={name}", error, "a diffusers folder or a .safetensors file")) from None


def _controlnet_from_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download

    if name.startswith((".", "~", "/")) or name.count("/") != 1:
        raise ModelError(f"controlnet={name}: no such file or folder. Expected one, a hub id, or {FRESH}.")
    try:
        patterns = ["config.json", *_weights_patterns(_files_on_hub(name), "diffusion_pytorch_model*")]
        return Path(snapshot_download(name, allow_patterns=patterns, local_files_only=not hub.hub_answers()))
    except Exception as error:  # errors of the hub, the network and the disk share no base class
        raise ModelError(_unavailable(f"controlnet={name}", error, "a file or folder")) from None


def _unavailable(setting: str, error: Exception, alternative: str) -> str:
    return (
        f"{setting} is not in the cache and cannot be downloaded ({hub.unavailable(error)}). Use {alternative}, or "
        f"download it on a machine with network access: hf download {setting.partition('=')[2]}"
    )


def _files_on_hub(name: str) -> list[str]:
    """Return the names of a repository's files; none without a network, where only the cache counts."""
    from huggingface_hub import HfApi

    return HfApi().list_repo_files(name) if hub.hub_answers() else []


def _weights_patterns(files: list[str], stem: str) -> list[str]:
    """Return patterns of the weights to download: .safetensors if the repository has them, else pickles.

    Args:
        files: the repository's files.
        stem: pattern of a weights file without its extension; a whole, full file of that name is enough.
    """
    whole = f"{stem.rstrip('*')}.safetensors"
    if whole in files:
        return [whole]
    suffix = (
        ".safetensors" if any(name.endswith(".safetensors") and fnmatch(name, f"{stem}*") for name in files) else ".bin"
    )
    return [f"{stem}{suffix}", f"{stem}.index*.json"]
