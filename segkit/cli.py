"""The command line: the commands in the order of the work, and errors as one line each."""

import sys
from importlib import import_module

import click

from segkit import __version__
from segkit.errors import SegkitError, UsageError

COMMANDS = {
    "build-dataset": "build_dataset",
    "check-palette": "check_palette",
    "snap": "snap",
    "caption": "caption",
    "check": "check",
    "train": "train",
    "generate": "generate",
    "export": "export",
    "inspect": "inspect_file",
    "demo": "demo",
}
"""Modules of segkit.commands by the name of their command, in the order of the work."""


class _Lazy(click.Group):
    """A group that imports a command only when it is run or listed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        try:
            command: click.Command = import_module(f"segkit.commands.{COMMANDS[cmd_name]}").command
        except ModuleNotFoundError as error:
            if not _is_hidden(error):
                raise
            return click.Command(cmd_name, callback=_hidden, short_help="Not available in this environment.")
        return command


HIDDEN = "Another package called trainer hides segkit's own. Install segkit in an environment of its own."


def _is_hidden(error: ModuleNotFoundError) -> bool:
    """Tell whether an import failed because another distribution's `trainer` is found before segkit's."""
    return (error.name or "").split(".")[0] == "trainer"


def _hidden() -> None:
    raise UsageError(HIDDEN)


@click.group(
    cls=_Lazy,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Example: segkit demo, then segkit build-dataset photos/ -o rooms",
)
@click.version_option(__version__, prog_name="segkit")
def group() -> None:
    """Turn a folder of photos into a ControlNet that obeys segmentation maps.

    Every colour the network sees is exactly the class it stands for, checked to the last step.
    """


def commands() -> dict[str, click.Command]:
    """Return all commands by name."""
    with click.Context(group) as context:
        found = {name: group.get_command(context, name) for name in group.list_commands(context)}
    return {name: command for name, command in found.items() if command}


def main() -> None:
    """Run the command line. Exit code 0: done; 1: problems found; 2: wrong use; 130: stopped by the user."""
    try:
        code = group.main(standalone_mode=False)
    except click.exceptions.Abort:
        click.echo("Stopped. Finished work is kept; type the same again to go on.", err=True)
        code = 130
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except SegkitError as error:
        code = _explain(error, str(error), error.exit_code)
    except BrokenPipeError:
        code = 0
    except OSError as error:
        code = _explain(error, f"Cannot go on: {error}. Mend that and type the same again.", 2)
    except ModuleNotFoundError as error:
        text = HIDDEN if _is_hidden(error) else f"{error}. Install segkit again: pip install segkit"
        code = _explain(error, text, 2)
    except Exception as error:
        line = str(error).strip().partition("\n")[0]
        code = _explain(error, f"segkit failed: {type(error).__name__}: {line}. The same with -v shows where.", 2)
    sys.exit(code)


def _explain(error: Exception, text: str, code: int) -> int:
    from segkit import console

    if {"-v", "--verbose"} & set(sys.argv[1:]):
        import traceback

        traceback.print_exception(error)
    console.line(text, error=True)
    return code
