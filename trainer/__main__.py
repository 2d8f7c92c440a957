"""Train as one of several processes: torchrun --nproc-per-node 2 -m trainer run.toml, or accelerate launch."""

import os
import sys
from pathlib import Path
from typing import Any

HELP = """\
Usage: torchrun --nproc-per-node 2 -m trainer run.toml
       accelerate launch -m trainer run.toml
       python -m trainer run.toml

Train as one of several processes, or as the only one. run.toml sets the dataset, the run folder (output) and any
option of segkit train, with underscores instead of hyphens:

    dataset = "rooms"
    output = "rooms-run"
    base = "deliberate.safetensors"
    batch_size = 2

segkit train --help lists the options; docs/train.md explains them. If interrupted, run the same command again: the run
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
    from segkit import console, interrupts
    from segkit.errors import SegkitError

    main_process = os.environ.get("RANK", "0") == "0"
    try:
        with interrupts.acknowledged():
            sys.exit(_train(sys.argv[1:], main_process))
    except KeyboardInterrupt:
        if main_process:
            console.line("Interrupted. Run the same command again.", error=True)
        sys.exit(interrupts.EXIT_CODE)
    except SegkitError as error:
        if main_process:
            console.line(str(error), error=True)
        sys.exit(error.exit_code)


def _train(arguments: list[str], main_process: bool) -> int:
    """Train, print the outcome in the main process, and return the exit code."""
    from segkit import console, interrupts
    from trainer import loop, settings

    options = _options(arguments)
    dataset, output = Path(options.pop("dataset")), Path(options.pop("output"))
    with console.progress() as progress:
        outcome = loop.train(dataset, output, settings.TrainSettings(**options), progress)
    if main_process:
        for line in outcome.lines():
            console.line(line)
    return 0 if outcome.file or not main_process else interrupts.EXIT_CODE


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
