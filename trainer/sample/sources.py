"""What a ControlNet is used with: the settings, completed by those of the training that it comes from."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from segkit.errors import ModelError
from segkit.palette import Palette
from trainer import settings as run_settings
from trainer.checkpoints import find, fitting, runs
from trainer.checkpoints.runs import Weights
from trainer.settings import SD15, GenerateSettings

_PLACES = ("base", "tokenizer", "vae")
"""Options of a run that may be paths, relative to the folder in which it was started."""


@dataclass(frozen=True)
class Sources:
    """What to use a ControlNet with: base, tokenizer folder, VAE, prediction type, and palette of the maps."""

    base: str
    tokenizer: str
    vae: str
    prediction: str
    palette: str


def sources(settings: GenerateSettings) -> Sources:
    """Complete the settings with those of the training run, if the ControlNet is one or comes from one.

    Raises:
        UsageError: the run's run.toml is damaged.
    """
    run, trained = _recorded(settings.controlnet)
    base, vae = trained.get("base", SD15), trained.get("vae", "")
    if (run / "base").is_dir():  # with the VAE that it was trained with
        base, vae = str(run / "base"), ""
    palette = str(run / "palette.csv") if (run / "palette.csv").is_file() else "ade20k"
    return Sources(
        base=settings.base or base,
        tokenizer=settings.tokenizer or trained.get("tokenizer", ""),
        vae=settings.vae or ("" if settings.base else vae),
        prediction=settings.prediction if settings.prediction != "auto" else trained.get("prediction", "auto"),
        palette=settings.palette or palette,
    )


def _recorded(controlnet: str) -> tuple[Path, dict[str, Any]]:
    """Return the folder of a ControlNet's run, and the options that it recorded; {} for one that is not of a run."""
    path = Path(controlnet).expanduser()
    run = runs.containing(path) or path
    if not (run / "run.toml").is_file():
        return run, {}
    options = run_settings.read(run / "run.toml")
    return run, options | {name: runs.located(run, options[name]) for name in _PLACES if name in options}


def find_networks(
    base: str, vae: str, controlnet: str, instead: str, mode: int | None = None
) -> Weights | None:  # fmt: skip
    """Find a base, its VAE and a ControlNet; a base that the run recorded is named as such.

    Raises:
        ModelError: one of them is missing or unavailable, or does not fit the base: see fitting.require_fitting.
    """
    try:
        weights = find.find_networks(base, controlnet, instead)
        fitting.require_fitting(base, weights, vae, mode)
    except ModelError as error:
        reason = str(error).removeprefix(f"base={base}: ")
        if reason == str(error) or _recorded(controlnet)[1].get("base") != base:
            raise
        raise ModelError(
            f"{controlnet} was trained on the base {base}: {reason} If it has moved, pass base=PATH."
        ) from None
    return weights


def palette_note(settings: GenerateSettings) -> str:
    """Return that a run was trained with another palette than the one set, as a sentence; "" if it was not.

    Raises:
        PaletteError: one of the palettes is invalid.
    """
    trained = Path(settings.controlnet).expanduser() / "palette.csv"
    if settings.allow_any_control or not settings.palette or not trained.is_file():
        return ""
    before, now = Palette.load(trained), Palette.load(settings.palette)
    if before.hash == now.hash:
        return ""
    old, new = ([(swatch.name, swatch.rgb) for swatch in palette] for palette in (before, now))
    first = next(index for index in range(len(old) + 1) if old[index : index + 1] != new[index : index + 1])
    return (
        f"{settings.controlnet} was trained with another palette ({len(before)} classes) than {settings.palette} "
        f"({len(now)}); they differ from class {first} on, and it knows the colours of its own only. Leave palette "
        "out to use that."
    )
