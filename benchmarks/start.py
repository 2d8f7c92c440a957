"""Startup time of commands: CPU time of --help and check-palette relative to importing click alone.

    python benchmarks/start.py [RUNS]

The programs run alternately, RUNS times after a warm-up run; medians are compared.
"""

import os
import resource
import statistics
import subprocess
import sys

BASE = "import click"
PROGRAMS = {
    BASE: ["-c", "import click"],
    "segkit --help": ["-m", "segkit", "--help"],
    "segkit check-palette": ["-m", "segkit", "check-palette"],
}
TARGETS = {"segkit --help": 2.0, "segkit check-palette": 3.0}
"""Maximum CPU time as a multiple of that of importing click."""


def cpu_seconds(arguments: list[str]) -> float:
    """Return the user and system time of one Python process, in seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Measure and print; exit with 1 if a target is missed."""
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    times: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    for run in range(runs + 1):
        for name, arguments in PROGRAMS.items():
            seconds = cpu_seconds(arguments)
            if run:
                times[name].append(seconds)
    medians = {name: statistics.median(seconds) for name, seconds in times.items()}
    print(f"CPU time, median of {runs} alternating runs, Python {sys.version.split()[0]}, {os.cpu_count()} cores")
    missed = False
    for name, seconds in medians.items():
        ratio = seconds / medians[BASE]
        target = f"   target at most {TARGETS[name]:g}x" if name in TARGETS else ""
        print(f"{name:22}{seconds * 1000:7.1f} ms{ratio:7.2f}x{target}")
        missed |= ratio > TARGETS.get(name, ratio)
    sys.exit(int(missed))


if __name__ == "__main__":
    main()
