"""Test and benchmark the CUDA path: tests, training steps, builds, most important first. Run it with benchmarks/gpu.sh.

Every result is written immediately: a JSON line in OUTPUT/gpu.jsonl, a row in OUTPUT/gpu.md, all output in
OUTPUT/gpu.log. Each part has a time limit, and all parts share --minutes, so a failure wastes at most minutes.
Exit code 0: all parts succeeded; 1: a part failed; 2: usage error; 130: interrupted.
"""

import argparse
import json
import os
import platform
import re
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib import invalidate_caches, metadata
from pathlib import Path
from threading import Timer
from typing import IO, Any

try:
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name
except ImportError:
    sys.exit(f"{sys.executable} lacks packaging. Set PYTHON to a Python with PyTorch, transformers and accelerate.")

ROOT = Path(__file__).resolve().parents[1]
UNUSED = ("google-auth", "gspread", "pandas")
"""Dependencies of segkit that neither training nor building needs."""

PRESENT = ("torch", "transformers", "accelerate", "numpy", "pillow", "scipy", "safetensors", "huggingface-hub")
"""Packages that the machine must provide; gpu_wheels.sh does not download them."""

PYTEST_DOTS = re.compile(r"[.sxFE]*(\s*\[ *\d+%\])?")
"""Progress lines of pytest, which add nothing to the verdicts."""

TOOLS = ("pytest", "pytest-xdist", "hypothesis")
TESTS = ("tests/trainer/test_cuda.py", "tests/models/test_cuda.py")
VERDICT = re.compile(r"VERDICT (\S+) (\w+)")
PYTEST = ["-m", "cuda", "-W", "default", "-p", "no:cacheprovider", "-p", "tests.gpu", "--tb=no"]

CARD = """
import json, sys, torch
if sys.argv[1] == "cuda" and not torch.cuda.is_available():
    sys.exit("No CUDA GPU found, or PyTorch lacks CUDA. To try the script on a CPU, pass --cpu --quick")
info = {"cpu": sys.argv[1] == "cpu", "python": sys.version.split()[0], "torch": torch.__version__}
if sys.argv[1] == "cuda":
    info |= {"card": torch.cuda.get_device_name(), "cuda": torch.version.cuda,
             "memory_gb": torch.cuda.get_device_properties(0).total_memory / 1e9}
    data = torch.empty(1 << 30, dtype=torch.uint8, device="cuda")
    seconds = []
    for turn in range(8):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record(); copy = data.clone(); end.record(); torch.cuda.synchronize()
        seconds.append(start.elapsed_time(end) / 1e3)
    info["copies_gb_per_second"] = 2 * data.numel() / sorted(seconds)[4] / 1e9
print("CARD " + json.dumps(info))
"""


@dataclass(frozen=True)
class Part:
    """A part of the run: name, time limit in seconds, and arguments of Python."""

    name: str
    limit: int
    command: list[str]


def parts(options: argparse.Namespace, results: Path) -> list[Part]:
    """Return the parts to run, most important first."""
    step = ["benchmarks/train_step.py", "--json", str(results)]
    build = ["benchmarks/build.py", "--json", str(results)]
    if options.cpu:
        step += "--toy --together --side 64".split()
        return [
            Part("card", 40, ["-c", CARD, "cpu"]),
            Part("tests", 150, ["-m", "pytest", *PYTEST, *TESTS]),
            Part("steps", 60, [*step, "--batch", "1", "2"]),
            Part("build", 60, [*build, *"--network small --batch 2 --photos 4".split()]),
        ]
    step += "--device cuda --side 512 --precision bf16".split()
    build += "--device cuda --network large --photos 16".split()
    batches = ["1", "8"] if options.quick else ["1", "2", "4", "8", "16", "32"]
    largest = ["--way", "ours", "--batch", batches[-1]]
    return [
        Part("card", 40, ["-c", CARD, "cuda"]),
        Part("tests", 160, ["-m", "pytest", "-n", "4", *PYTEST, *TESTS]),
        Part("steps", 120, [*step, "--profile", "--batch", *batches]),
        Part("build", 100, [*build, "--batch", *(["8"] if options.quick else ["1", "8", "16"])]),
        Part("steps, compiled", 240, [*step, "--option", "compile", *largest]),  # compilation takes minutes
        Part("steps, checkpointing", 60, [*step, "--option", "gradient_checkpointing", *largest]),
        Part("steps, contiguous", 60, [*step, "--contiguous", *largest]),
    ]


class Report:
    """Writes the results: JSON lines, a Markdown table and a log."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.lines, self.table = folder / "gpu.jsonl", folder / "gpu.md"
        self.log: IO[str] = (folder / "gpu.log").open("a")
        self.lines.touch()

    def add(self, **record: Any) -> None:
        """Write one result immediately and update the table."""
        with self.lines.open("a") as file:
            file.write(json.dumps(record) + "\n")
        self.draw()

    def say(self, text: str) -> None:
        """Print a line and append it to the log."""
        print(text, flush=True)
        self.log.write(text + "\n")
        self.log.flush()

    def records(self) -> list[dict[str, Any]]:
        """Return all results written so far."""
        return [json.loads(line) for line in self.lines.read_text().splitlines()]

    def draw(self) -> None:
        """Write the table of all results so far."""
        self.table.write_text("\n".join(tables(self.records())) + "\n")


def tables(records: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the lines of the Markdown report."""
    card = next((record for record in records if "python" in record), {})
    name = f"{platform.machine()}, small networks on the CPU" if card.get("cpu") else platform.machine()
    yield f"## {card.get('card', name)}, torch {card.get('torch', '?')}, {time.strftime('%Y-%m-%d')}"
    if "copies_gb_per_second" in card:
        yield f"\n{card['memory_gb']:.0f} GB; copies {card['copies_gb_per_second']:.0f} GB/s, read and written."
    yield from table("Tests", ("test", "outcome"), [
        (record["test"], record["outcome"]) for record in records if "test" in record
    ])  # fmt: skip
    yield from table("Training steps", ("method", "batch", "s/step", "samples/s", "matmul share", "peak, GB"), [
        (
            " ".join([record["way"], *record["options"], *["contiguous"] * record["contiguous"]]), record["batch"],
            f"{record['seconds_a_step']:.4f}", f"{record['samples_per_second']:.2f}",
            f"{record['share']:.1%}" if "share" in record else "", f"{record['peak_gb']:.1f}",
        )
        for record in records if "seconds_a_step" in record
    ])  # fmt: skip
    yield from table("Speedup over train_controlnet.py", ("batch", "speedup", "loss difference"), [
        (record["batch"], f"{record['ratio']:.2f}", f"{record['losses_differ_by']:.1e}")
        for record in records if "ratio" in record
    ])  # fmt: skip
    yield from table("Largest costs of a step", ("share of GPU time", "kernel"), [
        (f"{record['share_of_gpu_time']:.1%}", f"`{record['profile'][:100]}`")
        for record in records if "profile" in record
    ])  # fmt: skip
    yield from table("build-dataset", ("OneFormer", "batch", "photos/s", "GPU utilisation"), [
        (
            record["network"], record["batch"], f"{record['photos_per_second']:.2f}",
            f"{record['gpu_busy']:.0%}" if record["gpu_busy"] is not None else "",
        )
        for record in records if "photos_per_second" in record
    ])  # fmt: skip
    yield from table("Parts", ("part", "outcome", "seconds"), [
        (record["part"], record["outcome"], f"{record['seconds']:.0f}") for record in records if "part" in record
    ])  # fmt: skip


def table(title: str, header: tuple[str, ...], rows: list[tuple[Any, ...]]) -> Iterator[str]:
    """Yield the lines of one table; nothing if it has no rows."""
    if rows:
        yield f"\n### {title}\n"
        for row in (header, ["---"] * len(header), *rows):
            yield "| " + " | ".join(map(str, row)) + " |"


def run(part: Part, limit: float, environment: dict[str, str], report: Report) -> str:
    """Run one part and return its outcome. Its output is printed, logged and searched for results."""
    process = subprocess.Popen(
        [sys.executable, *part.command], cwd=ROOT, env=environment, text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    timer = Timer(limit, os.killpg, (process.pid, signal.SIGKILL))
    timer.start()
    try:
        for line in process.stdout or ():
            text = line.rstrip("\n")
            if text.startswith("CARD "):
                report.add(**json.loads(text[5:]))
            elif not text or not PYTEST_DOTS.fullmatch(text):
                report.say(text)
            if verdict := VERDICT.search(text):
                report.add(test=verdict[1], outcome=verdict[2])
        code = process.wait()
    finally:  # also after Ctrl-C or SIGTERM: leave no process on the GPU
        timer.cancel()
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    return {0: "done", -signal.SIGKILL: f"stopped after its limit of {limit:.0f} s"}.get(
        code, f"failed, exit code {code}"
    )


def install(wheels: Path, site: Path) -> None:
    """Install missing packages from a folder of wheels, without network access, into the folder `site`."""
    files = {canonicalize_name(file.name.split("-")[0]): file for file in sorted(wheels.glob("*.whl"))}
    needed = [*requirements(), *(Requirement(name) for name in files)]  # wheels have requirements of their own
    sys.path.insert(0, str(site))
    while missing := [requirement.name for requirement in unsatisfied(needed)]:
        available = [str(files.pop(name)) for name in dict.fromkeys(map(canonicalize_name, missing)) if name in files]
        if not available:
            names = sorted(set(map(canonicalize_name, missing)))
            if required := [name for name in names if name in PRESENT]:
                sys.exit(f"{sys.executable} lacks {', '.join(required)}. Set PYTHON to a Python that has them.")
            sys.exit(f"{', '.join(names)}: not installed. On a machine with network: benchmarks/gpu_wheels.sh {wheels}")
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-compile"]
        if subprocess.run([*command, "--upgrade", "--target", str(site), *available], check=False).returncode:
            sys.exit(
                f"pip refused a wheel. Recreate the folder on a machine with network: benchmarks/gpu_wheels.sh {wheels}"
            )
        print(f"installed {', '.join(Path(file).name.split('-')[0] for file in available)} from {wheels}", flush=True)
        invalidate_caches()


def requirements() -> list[Requirement]:
    """Return the requirements of training, building and their tests."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    needed = map(Requirement, [*project["dependencies"], *TOOLS])
    return [requirement for requirement in needed if requirement.name not in UNUSED]


def unsatisfied(needed: list[Requirement]) -> Iterator[Requirement]:
    """Yield the direct and transitive requirements that are missing or have an unsuitable version."""
    pending, seen = list(needed), set()
    while pending:
        requirement = pending.pop()
        if str(requirement) in seen or (requirement.marker and not requirement.marker.evaluate({"extra": ""})):
            continue
        seen.add(str(requirement))
        try:
            installed = metadata.distribution(requirement.name)
        except metadata.PackageNotFoundError:
            yield requirement
            continue
        if not requirement.specifier.contains(installed.version, prereleases=True):
            yield requirement
        pending += map(Requirement, installed.requires or ())


def parse() -> argparse.Namespace:
    """Parse and check the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--wheels", type=Path, default=ROOT / "benchmarks" / "wheels", help="folder filled by gpu_wheels.sh"
    )
    parser.add_argument("--output", type=Path, default=Path("gpu-results"), help="folder for the results")
    parser.add_argument("--add", action="store_true", help="append to the results in the folder")
    parser.add_argument("--minutes", type=float, default=8.0, help="time limit for all parts together")
    parser.add_argument(
        "--only",
        nargs="+",
        default=[],
        metavar="PART",
        help="run these parts only, such as: tests build 'steps, compiled'",
    )
    parser.add_argument("--quick", action="store_true", help="fewer batch sizes")
    parser.add_argument("--cpu", action="store_true", help="try the script on the CPU, with small networks")
    options = parser.parse_args()
    options.output = options.output.resolve()
    if not options.minutes > 0:
        parser.error(f"--minutes {options.minutes}: expected a number above 0")
    names = [part.name for part in parts(options, options.output)]
    if unknown := [name for name in options.only if name not in names]:
        parser.error(f"--only {unknown[0]}: unknown part. Expected one of: {', '.join(map(repr, names))}")
    if (options.output / "gpu.jsonl").exists() and not options.add:
        parser.error(f"{options.output} already contains results. Choose another --output, or pass --add")
    return options


def main() -> None:
    """Run all parts; exit with 1 if one failed."""
    options = parse()
    deadline = time.monotonic() + 60 * options.minutes
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory() as site:
        install(options.wheels.resolve(), Path(site))
        threads = "1" if options.cpu else "4"  # small networks are slower with many threads
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        environment = {"OMP_NUM_THREADS": threads} | inherited | {"PYTHONPATH": os.pathsep.join([str(ROOT), site])}
        if options.cpu:
            environment |= {"SEGKIT_CUDA_TESTS": "cpu", "CUDA_VISIBLE_DEVICES": ""}
        try:
            report = Report(options.output)
        except OSError as error:
            sys.exit(f"--output {options.output}: {error.strerror}. Choose a writable folder.")
        failed = False
        for part in parts(options, report.lines):
            if options.only and part.name not in options.only:
                continue
            outcome = timed(part, deadline, environment, report)
            failed |= outcome != "done"
            if part.name == "card" and failed:
                break
    report.say("\n" + report.table.read_text())
    report.say(f"Written: {report.table}, {report.lines}")
    sys.exit(int(failed))


def timed(part: Part, deadline: float, environment: dict[str, str], report: Report) -> str:
    """Run a part within the remaining time and record its outcome, even if it is interrupted."""
    start, outcome = time.monotonic(), "interrupted"
    limit = min(part.limit, deadline - start)
    try:
        report.say(f"\n== {part.name}, " + (f"at most {limit:.0f} s" if limit > 5 else "no time left"))
        outcome = run(part, limit, environment, report) if limit > 5 else "no time left"
    finally:
        report.add(part=part.name, outcome=outcome, seconds=time.monotonic() - start)
    return outcome


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
