"""Settings classes as options of a command: names, types, defaults and help come from the class."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import click
import pytest
from click.testing import CliRunner
from msgspec import Meta

from segkit import threads
from segkit.commands.options import (
    Command,
    json_option,
    settings_options,
    take,
    threads_option,
    with_file,
    with_removals,
)
from segkit.errors import SettingError, UsageError
from tests.conftest import Segkit


@dataclass(frozen=True)
class Parent:
    """Inherited settings."""

    device: Annotated[Literal["cpu", "cuda"], Meta(description="Where to run.")] = "cpu"
    quiet: Annotated[bool, Meta(description="Say less.")] = False


@dataclass(frozen=True)
class Own(Parent):
    """Settings of the command."""

    min_size: Annotated[int, Meta(description="Short side.")] = 8
    name: Annotated[str, Meta(description="A name.")] = ""
    cache: Annotated[bool, Meta(description="Keep files.")] = True

    def __post_init__(self) -> None:
        if self.min_size < 1:
            raise SettingError("min_size", self.min_size, "at least 1")


@click.command("show", cls=Command, example="segkit show 3")
@settings_options(Own)
@json_option
def show(as_json: bool, **values: Any) -> None:
    """Print the settings."""
    settings = take(Own, values)
    click.echo((as_json, settings, values))


def run(*arguments: str) -> str:
    """Return the output of the command."""
    result = CliRunner().invoke(show, arguments)
    assert result.exit_code == 0, result.output
    return result.output.strip()


def test_options_have_the_defaults_of_the_class() -> None:
    """Without arguments the settings equal those made in Python."""
    assert run() == str((False, Own(), {}))


def test_arguments_become_settings() -> None:
    """Underscores are hyphens, flags that are on by default can be switched off, types are converted."""
    output = run("--min-size", "3", "--no-cache", "--quiet", "--device", "cuda", "--name", "a", "--json")

    assert output == str((True, Own("cuda", True, 3, "a", False), {}))


def test_the_help_lists_own_options_first() -> None:
    """Inherited ones follow; defaults that mean nothing are hidden, and the example comes last."""
    text = run("--help")

    places = [text.index(name) for name in ("--min-size", "--name", "--cache / --no-cache", "--device", "--quiet")]
    assert places == sorted(places)
    assert "[default: 8]" in text
    assert "[cpu|cuda]" in text
    assert text.count("[default: ") == text.count("[default: 8]") + text.count("[default: cpu]") + text.count("cache]")
    assert text.endswith("Example: segkit show 3")


def test_messages_name_what_is_typed_where_a_setting_is_no_option() -> None:
    """An argument is named by its value; a setting of another command by that command's option."""

    @click.command(cls=Command, argument="controlnet", elsewhere=["controlnet_mode"])
    @click.argument("controlnets", nargs=-1)
    def evaluate() -> None:
        """Do nothing."""

    assert isinstance(evaluate, Command)
    shown = evaluate.with_flags("controlnet=a.pth: no union. Leave out controlnet_mode=3, or use controlnet=fresh.")
    assert shown == "a.pth: no union. Leave out --controlnet-mode 3, or use fresh."


def test_only_the_settings_are_taken() -> None:
    """Other arguments of the command stay."""
    values = {"min_size": 2, "name": "", "cache": True, "device": "cpu", "quiet": False, "other": 1}

    assert take(Own, values) == Own(min_size=2)
    assert values == {"other": 1}


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("min_size=0: expected at least 1.", "--min-size 0: expected at least 1."),
        ("Try min_size=8, quiet=True or cache=False.", "Try --min-size 8, --quiet or --no-cache."),
        ("device='tpu': expected cpu", "--device 'tpu': expected cpu"),
        ("To see more: quiet=False", "To see more: without --quiet"),
        ("other=3, /data/name=x/min_size=2, --name=x", "other=3, /data/name=x/min_size=2, --name=x"),
    ],
)
def test_errors_name_settings_as_options(message: str, shown: str) -> None:
    """The library speaks of settings and values; paths and settings of other commands are left alone."""
    assert isinstance(show, Command)
    assert show.with_flags(message) == shown

    @click.command(cls=Command, params=[param for param in show.params if param.name not in ("log", "verbose")])
    def failing(**values: Any) -> None:
        raise UsageError(message)

    assert str(CliRunner().invoke(failing).exception) == shown


def test_a_file_is_passed_once(segkit: Segkit, tmp_path: Path) -> None:
    """A second one would silently replace the first."""
    ended = segkit("snap", tmp_path, "-o", tmp_path / "a", "--output", tmp_path / "b")

    assert ended.code == 2
    assert "-o is passed 2 times. Pass it once." in ended.err


def test_the_command_line_names_the_option(segkit: Segkit, tmp_path: Path) -> None:
    """The same check in the words of the command."""
    ended = segkit("build-dataset", tmp_path, "--size", "500", "--min-confidence", "0.5")

    assert (ended.code, ended.err) == (2, "--size 500: expected a multiple of 8, at least 64.\n")


def test_threads_are_limited_while_the_command_runs() -> None:
    """--threads holds for the command only, and is no argument of it."""
    limits: list[int | None] = []

    @click.command(cls=Command)
    @threads_option
    def count() -> None:
        limits.append(threads.limit())

    runner = CliRunner()
    results = [runner.invoke(count, arguments).exit_code for arguments in (["--threads", "2"], [], ["--threads", "0"])]

    assert (results, limits, threads.limit()) == ([0, 0, 2], [2, None], None)


@pytest.mark.parametrize(
    ("typed", "file", "expected"),
    [((), {}, ""), (("--prefix", ""), {}, " "), ((), {"prefix": ""}, " "), (("--prefix", "a"), {"prefix": ""}, "a")],
)
def test_an_empty_text_that_was_written_removes(typed: tuple[str, ...], file: dict[str, str], expected: str) -> None:
    """On the command line or in a file; the default keeps what the dataset remembers."""

    @click.command(cls=Command)
    @click.option("--prefix", default="")
    @click.pass_context
    def write(context: click.Context, /, **values: Any) -> None:
        click.echo(with_removals(context, with_file(context, values, file), file)["prefix"], nl=False)

    assert CliRunner().invoke(write, typed).output == expected


@dataclass(frozen=True)
class Choices:
    """Settings that need not be chosen."""

    first_id: Annotated[Literal[0, 1] | None, Meta(description="First class.")] = None
    photo_format: Annotated[Literal["", "jpg", "png"], Meta(description="Format.")] = ""


@click.command("choose", cls=Command, example="choose")
@settings_options(Choices)
def choose(**values: Any) -> None:
    """Print the settings."""
    click.echo(take(Choices, values))


def test_choices_that_need_not_be_made() -> None:
    """Numbers arrive as numbers, nothing chosen stays nothing, and help shows neither types nor the empty choice."""

    def output(*arguments: str) -> str:
        return CliRunner().invoke(choose, arguments).output.strip()

    assert output("--first-id", "0") == "Choices(first_id=0, photo_format='')"
    assert output("--first-id", "1", "--photo-format", "png") == "Choices(first_id=1, photo_format='png')"
    assert output() == output("--photo-format", "") == "Choices(first_id=None, photo_format='')"
    assert "--first-id [0|1]" in output("--help")
    assert "--photo-format [jpg|png]" in output("--help")
    assert "'2' is not one of '0', '1'." in output("--first-id", "2")
