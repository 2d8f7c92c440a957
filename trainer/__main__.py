"""Train as one of several processes: torchrun --nproc-per-node 2 -m trainer run.toml, or accelerate launch."""

import os
import sys
import time
from pathlib import Path
from typing import Any

HELP = """\
Usage: torchrun --nproc-per-node 2 -m trainer run.toml
       accelerate launch -m trainer run.toml
       python -m trainer run.toml
       ... -m trainer run.toml --log json

Train as one of several processes, or as the only one. run.toml sets the dataset, the run folder (output) and any
option of segkit train, with underscores instead of hyphens:

    dataset = "rooms"
    output = "rooms-run"
    base = "deliberate.safetensors"
    batch_size = 2

segkit train --help lists the options; docs/train.md explains them. --log json writes progress, warnings and errors to
stderr as JSON Lines; see docs/automation.md. If interrupted, run the same command again: the run
resumes. Exit code 0: trained; 2: error; 130: interrupted.
"""


def main() -> None:
    """Run the training described by a run.toml: dataset, run folder and options.

    Exit code 0: finished; 2: error; 130: stopped.
    """
    if {"-h", "--help"} & set(sys.argv[1:]):
        sys.stdout.write(HELP)
        return
    os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")  # before torch is imported: see trainer.step.cpu.reproducible
    import click

    from segkit import failures, interrupts
    from segkit.errors import SegkitError

    main_process = os.environ.get("RANK", "0") == "0"
    first_of_machine = main_process or os.environ.get("LOCAL_RANK", "0") == "0"  # whose errors are shown there
    channels, began = failures.Channels.of(sys.argv[1:]), time.monotonic()
    try:
        with interrupts.acknowledged(channels.format_line):
            code = _train(sys.argv[1:], channels.logs_json, main_process)
    except (SegkitError, KeyboardInterrupt) as error:
        if isinstance(error, KeyboardInterrupt) or interrupts.is_lost(error):
            code = interrupts.EXIT_CODE
            report: Exception = click.exceptions.Abort("Interrupted. Run the same command again.")
        else:
            code, report = error.exit_code, error
        if first_of_machine:
            channels.report(report)
    if main_process:
        channels.end(code, time.monotonic() - began)
    sys.exit(code)


def _train(arguments: list[str], logs_json: bool, main_process: bool) -> int:
    """Train, print the outcome in the main process, and return the exit code."""
    from segkit import console, interrupts
    from trainer import loop, settings
    from trainer.data import shards
    from trainer.step import rendezvous

    with rendezvous.announcing():
        options = _options(_without_log(arguments))
        dataset, output = shards.of_text(options.pop("dataset")), Path(options.pop("output"))
        training = settings.TrainSettings(**options)
    with console.progress("json" if logs_json else "auto") as progress:
        outcome = loop.train(dataset, output, training, progress)
    if main_process:
        for line in outcome.lines():
            console.line(line)
    return 0 if outcome.file or not main_process else interrupts.EXIT_CODE


def _without_log(arguments: list[str]) -> list[str]:
    """Return the arguments without --log json."""
    for place in range(len(arguments) - 1):
        if arguments[place : place + 2] == ["--log", "json"]:
            return arguments[:place] + arguments[place + 2 :]
    return [word for word in arguments if word != "--log=json"]


def _options(arguments: list[str]) -> dict[str, Any]:
    """Read the run.toml that the arguments name.

    Raises:
        UsageError: they name none, or the file is not valid; the message says where the help is.
    """
    from segkit.errors import UsageError
    from trainer import settings

    passed = " ".join(arguments) or "nothing"
    try:
        if len(arguments) != 1 or passed.startswith("-"):
            raise UsageError(f"Expected the path of one run.toml, found {passed}.")
        if Path(passed).is_dir():
            raise UsageError(f"{passed} is a folder. Pass a file, such as {Path(passed) / 'run.toml'}.")
        options = settings.read(Path(passed))
        if missing := [name for name in ("dataset", "output") if name not in options]:
            raise UsageError(f'{passed}: {" and ".join(missing)} missing. Add: {missing[0]} = "PATH"')
    except UsageError as error:
        raise UsageError(f"{error} Help: python -m trainer --help") from None
    return options


if __name__ == "__main__":
    main()
