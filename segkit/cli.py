"""Command-line entry point: lists the commands in workflow order and turns every error into one line."""

import sys
import time
from importlib import import_module

import click

from segkit import __version__, interrupts
from segkit.errors import UsageError

COMMANDS = {
    "build-dataset": ("build_dataset", "Build a dataset of checked triples from photos."),
    "import": ("import_data", "Bring datasets of other tools, or of segkit, into a dataset."),
    "check-palette": ("check_palette", "Find clashing colours and off-palette pixels."),
    "snap": ("snap", "Repair control maps made by other tools."),
    "caption": ("caption", "Draft prompts, or set hand-written ones."),
    "check": ("check", "Check a dataset against every rule."),
    "review": ("review", "Correct maps and prompts in a web page."),
    "relabel": ("relabel", "Take over maps corrected in an image editor."),
    "remove": ("remove", "Leave triples out of a dataset, or put them back."),
    "subset": ("subset", "Copy some triples into a new dataset, by hard links."),
    "train": ("train", "Finetune a segmentation ControlNet on a dataset."),
    "generate": ("generate", "Generate pictures from control maps."),
    "evaluate": ("evaluate", "Measure how well ControlNets obey their maps."),
    "export": ("export", "Convert a dataset or a trained ControlNet for other tools."),
    "inspect": ("inspect_file", "Identify a checkpoint and check it for faults."),
    "demo": ("demo", "Run the whole workflow on rendered photos, offline."),
}
"""Module of segkit.commands and short help by command name, in workflow order. Listing them imports no module."""


class _Lazy(click.Group):
    """A group that imports a command's module only when the command is run."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        try:
            command: click.Command = import_module(f"segkit.commands.{COMMANDS[cmd_name][0]}").command
        except ModuleNotFoundError as error:
            from segkit import failures

            if not failures.is_shadowed(error):
                raise
            return click.Command(cmd_name, callback=_report_shadowed, short_help="Not available in this environment.")
        return command


def _report_shadowed() -> None:
    from segkit import failures

    raise UsageError(failures.SHADOWED)


@click.group(
    cls=_Lazy,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Example: segkit demo, then segkit build-dataset photos/ -o rooms",
)
@click.version_option(__version__, prog_name="segkit")
def group() -> None:
    """Turn a folder of photos into a ControlNet that obeys segmentation maps.

    Every colour the network sees is exactly the colour of its class, verified up to the last training step.
    """


def commands() -> dict[str, click.Command]:
    """Return all commands by name."""
    with click.Context(group) as context:
        loaded = {name: group.get_command(context, name) for name in group.list_commands(context)}
    return {name: command for name, command in loaded.items() if command}


def main() -> None:
    """Run the command line. Exit codes: 0 success, 1 problems found, 2 usage or runtime error, 130 interrupted."""
    from segkit.failures import Channels

    channels, began = Channels.of(sys.argv[1:]), time.monotonic()
    try:
        with interrupts.acknowledged(channels.format_line):
            code = group.main(standalone_mode=False)
    except BrokenPipeError:
        code = 0
    except (Exception, KeyboardInterrupt) as error:
        code = channels.report(error)
    channels.end(code or 0, time.monotonic() - began)
    sys.exit(code)
