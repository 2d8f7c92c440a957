"""Every setting of every command refuses a wrong value, through each of its ways in: Python, TOML, command line."""

import inspect
import math
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import click
import pytest
import tomli_w
from msgspec import Meta

import segkit as package
from segkit import cli
from segkit.build.settings import BuildSettings, CaptionSettings
from segkit.errors import SettingError, UsageError
from segkit.maps import causes
from segkit.schema import Settings
from segkit.settings import (
    Cause,
    CheckSettings,
    DraftSettings,
    DrawSettings,
    ExportSettings,
    PaletteSettings,
    SnapSettings,
)
from tests.conftest import Segkit
from trainer import settings as trainer_settings
from trainer.settings import GenerateSettings, TrainSettings

CALLS: dict[type[Settings], Callable[..., object]] = {
    BuildSettings: lambda **wrong: package.build_dataset("photos", "out", **wrong),
    CaptionSettings: lambda **wrong: package.caption("rooms", **wrong),
    TrainSettings: lambda **wrong: package.train("rooms", "run", **wrong),
    GenerateSettings: lambda **wrong: package.generate("maps", **wrong),
    PaletteSettings: lambda **wrong: package.check_palette("table.csv", **wrong),
    SnapSettings: lambda **wrong: package.snap("map.png", **wrong),
    CheckSettings: lambda **wrong: package.check("rooms", **wrong),
    DraftSettings: lambda **wrong: package.caption("rooms", **wrong),
    DrawSettings: lambda **wrong: package.generate("maps", **wrong),
    ExportSettings: lambda **wrong: package.export("run", **{"to": "ldm", **wrong}),
}
"""The function of the API that takes the settings of a class; none of the paths exists."""

COMMANDS: dict[type[Settings], list[str]] = {
    BuildSettings: ["build-dataset", "photos"],
    CaptionSettings: ["caption", "rooms"],
    TrainSettings: ["train", "rooms"],
    GenerateSettings: ["generate", "--map", "maps"],
    PaletteSettings: ["check-palette", "table.csv"],
    SnapSettings: ["snap", "map.png", "-o", "out"],
    CheckSettings: ["check", "rooms"],
    DraftSettings: ["caption", "rooms"],
    DrawSettings: ["generate", "--map", "maps"],
    ExportSettings: ["export", "run", "--to", "ldm"],
}

BY_RULE: dict[str, list[Any]] = {
    "batch_size": ["0", "-1", "many", "1.5"],
    "split": ["val=1.0", "val=nan", "holdout=0.1", "val=0.6,test=0.6"],
    "template": ["{sky}", "{caption"],
}
"""Values that settings with rules of their own refuse."""


def wrong_values(kind: type[Settings], name: str) -> Iterator[Any]:
    """Yield values of the wrong type, out of range, not finite, not a choice, or not text."""
    hint = get_type_hints(kind, include_extras=True)[name]
    plain, limits = get_args(hint)[0], next(meta for meta in hint.__metadata__ if isinstance(meta, Meta))
    yield from ({}, b"x") if NoneType in get_args(plain) else (None, {}, b"x")
    if NoneType in get_args(plain):
        yield from ("nonsense", "1", -1, True, 1.5, *(() if int in get_args(plain) else (3, 1.0)))
    elif plain is bool:
        yield from (0, 1, "yes")
    elif plain is int:
        yield from ("3", 1.5, True, 2**70, math.nan, *outside(limits))
    elif plain is float:
        yield from ("0.5", True, math.nan, math.inf, -math.inf, 10**400, *outside(limits))
    elif get_origin(plain) is tuple:
        yield from ("ade20k", ["ade20k", 3])
    elif get_origin(plain) is Literal:
        yield from ("nonsense", 3, True, get_args(plain)[-1].upper(), f" {get_args(plain)[-1]}")
    else:
        yield from (3, True, 1.5, ["x"], "a\0b", "caf\udce9", *(["", "  "] if limits.min_length else []))
    if plain is str:
        yield from BY_RULE.get(name, [])


def outside(limits: Meta) -> Iterator[float]:
    """Yield numbers beyond the limits."""
    if limits.ge is not None:
        yield limits.ge - 1
    if limits.gt is not None:
        yield limits.gt
    if limits.le is not None:
        yield limits.le + 1
    if limits.lt is not None:
        yield limits.lt
    if limits.multiple_of is not None:
        yield limits.ge + limits.multiple_of // 2  # type: ignore[operator]


SETTINGS = [(kind, field.name) for kind in CALLS for field in fields(kind)]


@pytest.mark.parametrize(("kind", "name"), SETTINGS)
def test_python_refuses_wrong_values(kind: type[Settings], name: str) -> None:
    """The class and the function of the API raise the same error, which names the setting, before any work."""
    required = {"to": "ldm"} if kind is ExportSettings else {}

    def create(**wrong: Any) -> Settings:
        return kind(**{**required, **wrong})

    for value in wrong_values(kind, name):
        for call in (create, CALLS[kind]):
            with pytest.raises(SettingError) as refused:
                call(**{name: value})
            assert refused.value.name == name
            assert str(refused.value).startswith(f"{name}=")
            assert "\n" not in str(refused.value)
            assert not str(refused.value).endswith("expected .")


@pytest.mark.parametrize("name", [field.name for field in fields(TrainSettings)])
def test_a_run_toml_refuses_wrong_values(name: str, tmp_path: Path) -> None:
    """The error names file, line and setting."""
    path = tmp_path / "run.toml"
    for value in wrong_values(TrainSettings, name):
        if value is None or isinstance(value, bytes) or (isinstance(value, str) and "\udce9" in value):
            continue  # TOML has no such value
        text = tomli_w.dumps({"dataset": "rooms", name: value})
        path.write_text(text)

        with pytest.raises(UsageError) as refused:
            trainer_settings.read(path)

        line = 2 if f"\n{name} = " in text else 3  # a table comes after an empty line
        assert f"line {line}: {name}" in str(refused.value)


def arguments(kind: type[Settings], name: str) -> list[str]:
    """Return the wrong values that can be typed, and are wrong as text too."""
    plain = get_args(get_type_hints(kind, include_extras=True)[name])[0]
    typed = str if plain is str else (str, int, float)
    texts = [str(value) for value in wrong_values(kind, name) if isinstance(value, typed) and value is not True]
    right = ("1",) if NoneType in get_args(plain) else ("3", "0.5") if plain in (int, float) else ()
    return [text for text in texts if text not in right]


@pytest.mark.parametrize(
    ("kind", "name"),
    # flags have no value, and the texts of `against` are separated by commas
    [
        (kind, name)
        for kind, name in SETTINGS
        if name != "against" and get_args(get_type_hints(kind, include_extras=True)[name])[0] is not bool
    ],
)
def test_the_command_line_refuses_wrong_values(
    kind: type[Settings], name: str, segkit: Segkit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 2, with the option's name, and nothing is written."""
    monkeypatch.chdir(tmp_path)
    option = "--from" if name == "cause" else "--" + name.replace("_", "-")
    values = arguments(kind, name)
    assert values
    for value in values:
        ended = segkit(*COMMANDS[kind], f"{option}={value}")

        assert (ended.code, option in ended.err) == (2, True), (value, ended)
        assert "Traceback" not in ended.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", [PaletteSettings, SnapSettings, CheckSettings, DrawSettings, ExportSettings])
def test_the_defaults_are_declared_once(kind: type[Settings]) -> None:
    """The function of the API and the command have the defaults of the class."""
    function = {"check-palette": "check_palette"}.get(COMMANDS[kind][0], COMMANDS[kind][0])
    parameters = inspect.signature(getattr(package, function)).parameters
    command = {option.name: option for option in cli.commands()[COMMANDS[kind][0]].params}

    for field in fields(kind):
        if field.name == "to" and kind is ExportSettings:
            continue  # required
        assert parameters[field.name].default == field.default
        option = command[field.name]
        if isinstance(option, click.Option) and option.is_flag:
            assert field.default is False
        elif field.name not in ("against", "cause"):  # text with commas; None where nothing is chosen
            assert option.default == field.default


def test_choices_are_listed() -> None:
    """An empty choice is visible."""
    with pytest.raises(SettingError, match="expected '' or tensorboard or wandb"):
        TrainSettings(tracker="mlflow")  # type: ignore[arg-type]


def test_causes_that_can_be_named_are_causes() -> None:
    """Every cause that snap accepts can also be diagnosed."""
    assert set(get_args(Cause)) - {""} <= set(causes.CAUSES)


def test_paths_are_accepted_as_text() -> None:
    """Where text is expected, the API takes a path; a list of palettes may contain paths."""
    report = package.check_palette(Path("ade20k"), palette=Path("ade20k"), against=[Path("coco_panoptic")])  # type: ignore[list-item]

    assert report.kind == "palette"
