"""Train as one of several processes: torchrun --nproc-per-node 2 -m trainer run.toml, or accelerate launch."""

import os
import sys
from pathlib import Path


def main() -> None:
    """Train what a run.toml says: the dataset, the run's folder and every option stand in it."""
    from segkit import console, show_training
    from segkit.errors import SegkitError, UsageError
    from segkit.settings import TrainSettings
    from trainer import loop, settings

    main_process = os.environ.get("RANK", "0") == "0"
    try:
        if len(sys.argv) != 2:
            raise UsageError("Type: torchrun --nproc-per-node 2 -m trainer run.toml")
        given = settings.read(Path(sys.argv[1]))
        missing = [name for name in ("dataset", "output") if not given.get(name)]
        if missing:
            raise UsageError(f"{sys.argv[1]}: no {' and no '.join(missing)} in it.")
        dataset, output = Path(given.pop("dataset")), Path(given.pop("output"))
        result = loop.train(dataset, output, TrainSettings(**given), console.progress)
        if main_process:
            show_training.trained(result, output, as_json=False)
        sys.exit(0 if result.file or not main_process else 130)
    except SegkitError as error:
        if main_process:
            console.line(str(error), error=True)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
