"""Settings dataclasses as command-line options, and what every command has in common."""

import dataclasses
import inspect
import os
import re
import typing
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from types import NoneType
from typing import Any, Literal, TypeVar, get_args

import click
from click.core import ParameterSource

from segkit import console, interrupts, log_lines, threads
from segkit.errors import SegkitError
from segkit.remote import is_url

Function = TypeVar("Function", bound=Callable[..., Any])
Settings = TypeVar("Settings")


class PathOrUrl(click.Path):
    """A local path, as Path, or a URL, as text."""

    name = "path or URL"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return a URL unchanged, and anything else as a Path."""
        return value if is_url(value) else Path(os.fsdecode(super().convert(value, param, ctx)))


class Command(click.Command):
    """A command with -v and --log, and an example at the end of its help.

    Args:
        example: shown at the end of the help.
        after_interrupt: what to do after Ctrl-C, as sentences; true whenever it comes.
        argument: setting of the library whose value is an argument here, so that messages name the value alone.
        elsewhere: settings in messages that are options of other commands.
    """

    def __init__(
        self, *args: Any, example: str = "", after_interrupt: str = "", argument: str = "",
        elsewhere: Sequence[str] = (), **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(*args, **kwargs)
        self._after_interrupt, self._argument, self._elsewhere = after_interrupt, argument, elsewhere
        self.epilog = f"Example: {example}"
        self.params += [
            click.Option(
                ["--log"], type=click.Choice(get_args(log_lines.Format)), default="auto", expose_value=False,
                callback=_set_log_format, help="Progress: bars on a terminal, else lines; json: JSON Lines on stderr.",
            ),
            click.Option(["-v", "--verbose"], is_flag=True, expose_value=False, help="Show the traceback of an error."),
        ]  # fmt: skip

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse arguments; a file or folder that is passed twice is refused, of which click would use the last."""
        order = self.make_parser(ctx).parse_args(list(args))[2]
        for option in self.params:
            if isinstance(option.type, click.Path) and not option.multiple and order.count(option) > 1:
                name = option.opts[0]
                raise click.UsageError(f"{name} is passed {order.count(option)} times. Pass it once.", ctx)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; errors name settings as options."""
        try:
            return super().invoke(ctx)
        except (SegkitError, KeyboardInterrupt) as error:
            if isinstance(error, KeyboardInterrupt) or interrupts.is_lost(error):
                raise click.exceptions.Abort(f"Interrupted. {self._after_interrupt}".strip()) from None
            error.args = (self.with_flags(str(error)),)
            raise

    def with_flags(self, text: str) -> str:
        """Return a message of the library with its settings as options: "steps=0" becomes "--steps 0".

        A flag that is off becomes its opposite, --no-flag, or where there is none "without --flag". A setting that is
        an argument, as in "controlnet=RUN", becomes its value.
        """
        options = {option.name: option for option in self.params if isinstance(option, click.Option)}
        names = [*map(str, options), *self._elsewhere, *filter(None, [self._argument])]

        def flag(setting: re.Match[str]) -> str:
            option, value = options.get(setting["name"]), setting["value"]
            if option is None:
                return "" if setting["name"] == self._argument else f"--{setting['name'].replace('_', '-')} {value}"
            if value == "False":
                return option.secondary_opts[-1] if option.secondary_opts else f"without {option.opts[-1]}"
            return option.opts[-1] + ("" if value else " ")

        # not inside a path or an option that is already there
        return re.sub(rf"(?<![\w./=-])(?P<name>{'|'.join(names)})=(?P<value>True\b|False\b|)", flag, text)


def _set_log_format(context: click.Context, option: click.Parameter, value: log_lines.Format) -> None:
    console.set_log_format(context, value)


def _limit_threads(context: click.Context, option: click.Parameter, value: int | None) -> None:
    if value:
        context.with_resource(threads.limited(value))


def with_flags(context: click.Context, text: str) -> str:
    """Return a sentence of the library with its settings as options of the running command; see Command.with_flags."""
    return context.command.with_flags(text) if isinstance(context.command, Command) else text


json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")

threads_option = click.option(
    "--threads",
    type=click.IntRange(1),
    expose_value=False,
    callback=_limit_threads,
    help="Most threads of each kind: for pictures, and PyTorch's on a CPU.  [default: by the number of cores]",
)


def settings_options(kind: type) -> Callable[[Function], Function]:
    """Turn each field of a settings class into an option: name, type, default and help stand in the class."""

    def decorate(function: Function) -> Function:
        for field in reversed(_fields(kind)):
            function = _option(kind, field)(function)
        return function

    return decorate


def take(kind: type[Settings], values: dict[str, Any]) -> Settings:
    """Build the settings from a command's arguments, which are removed from `values`.

    Raises:
        SettingError: a value outside its range.
    """
    return kind(**{field.name: values.pop(field.name) for field in _fields(kind)})


def take_typed(
    kind: type, context: click.Context, values: dict[str, Any], file: Collection[str] = ()
) -> dict[str, Any]:
    """Return those settings that were typed, by name; all of the class are removed from a command's arguments.

    Args:
        kind: a settings class.
        context: of the running command.
        values: the arguments by name.
        file: names of the options that the --config file sets, which count as typed.
    """
    settings = {field.name: values.pop(field.name) for field in _fields(kind)}
    return {name: value for name, value in settings.items() if name in file or is_typed(context, name)}


def is_typed(context: click.Context, name: str) -> bool:
    """Return whether an option was typed, rather than left at its default."""
    return context.get_parameter_source(name) is not ParameterSource.DEFAULT


def with_file(context: click.Context, values: dict[str, Any], file: dict[str, Any]) -> dict[str, Any]:
    """Return a command's arguments with those of its --config file; what was typed takes precedence.

    Args:
        context: of the running command.
        values: the arguments by name.
        file: the options that the file sets, and others.
    """
    typed = {name for name in values if is_typed(context, name)}
    return values | {name: file[name] for name in values if name in file and name not in typed}


def with_removals(context: click.Context, values: dict[str, Any], file: Collection[str] = ()) -> dict[str, Any]:
    """Return a command's arguments where an empty text that a person wrote removes what the dataset remembers.

    Settings left at their default, which is "" too, keep it.

    Args:
        context: of the running command.
        values: the arguments by name.
        file: names of the options that the --config file sets.
    """
    typed = {name for name in values if context.get_parameter_source(name) is ParameterSource.COMMANDLINE}
    nothing = {"prefix": " ", "suffix": " ", "template": "{caption}"}
    return {
        name: nothing.get(name, value) if value == "" and (name in typed or name in file) else value
        for name, value in values.items()
    }


def _fields(kind: type) -> list["dataclasses.Field[Any]"]:
    """Return the fields, those of the class itself before the inherited ones."""
    declared_here = inspect.get_annotations(kind)
    return sorted(dataclasses.fields(kind), key=lambda field: field.name not in declared_here)


_NAMES = {"cause": "--from"}
"""Options whose name is a reserved word in Python."""


class _Choice(click.Choice[Any]):
    """Values of a setting. The empty one, which says that nothing was chosen, is accepted but not shown."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the value, in its own type."""
        return "" if value == "" and param is not None and param.default == "" else super().convert(value, param, ctx)


def _type_of(plain: Any) -> Any:
    """Return the type of an option: choices for a Literal, optional or not, of texts or of numbers."""
    kinds = [kind for kind in get_args(plain) if kind is not NoneType]
    if NoneType in get_args(plain):
        return _type_of(kinds[0])
    return _Choice([choice for choice in kinds if choice != ""]) if typing.get_origin(plain) is Literal else plain


def _option(kind: type, field: "dataclasses.Field[Any]") -> Callable[[Function], Function]:
    plain, meta = get_args(typing.get_type_hints(kind, include_extras=True)[field.name])
    text = meta.description
    name = _NAMES.get(field.name, "--" + field.name.replace("_", "-"))
    if plain is bool:
        flags = f"{name}/--no-{name[2:]}" if field.default else name
        return click.option(flags, field.name, is_flag=True, default=field.default, help=text)
    if typing.get_origin(plain) is tuple:
        return click.option(name, field.name, multiple=True, default=field.default, help=text)
    option_type = _type_of(plain)
    show = field.default not in ("", 0)
    return click.option(name, field.name, type=option_type, default=field.default, show_default=show, help=text)
