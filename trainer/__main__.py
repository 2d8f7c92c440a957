"""Train as one of several processes: torchrun --nproc-per-node 2 -m trainer run.toml, or accelerate launch."""

import os
import sys
from pathlib import Path


def main() -> None:
    """Run the training described by a run.toml: dataset, run folder and options.

    Exit code 0: finished; 2: error; 130: stopped.
    """
    os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")  # before torch is imported: see trainer.step.cpu.reproducible
    from segkit import console
    from segkit.errors import SegkitError, UsageError
    from trainer import loop, settings

    main_process = os.environ.get("RANK", "0") == "0"
    try:
        if len(sys.argv) != 2:
            raise UsageError("Usage: torchrun --nproc-per-node 2 -m trainer run.toml")
        options = settings.read(Path(sys.argv[1]))
        missing = [name for name in ("dataset", "output") if not options.get(name)]
        if missing:
            raise UsageError(f'{sys.argv[1]}: {" and ".join(missing)} missing. Add: {missing[0]} = "PATH"')
        dataset, output = Path(options.pop("dataset")), Path(options.pop("output"))
        with console.progress() as progress:
            outcome = loop.train(dataset, output, settings.TrainSettings(**options), progress)
        if main_process:
            for line in outcome.lines():
                console.line(line)
        sys.exit(0 if outcome.file or not main_process else 130)
    except SegkitError as error:
        if main_process:
            console.line(str(error), error=True)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
