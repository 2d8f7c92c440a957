"""Prove and measure the CUDA path: tests, training steps, builds, most important first. Run it by benchmarks/gpu.sh.

Every result is written at once: a JSON line in OUTPUT/gpu.jsonl, a row in OUTPUT/gpu.md, everything printed in
OUTPUT/gpu.log. Every part has a time limit of its own, and all share --minutes, so that a failure costs minutes only.
Exit code 0: all done; 1: a part failed; 2: wrong use; 130: stopped.
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
    sys.exit(f"{sys.executable} lacks even packaging. PYTHON must name one with PyTorch, transformers and accelerate.")

ROOT = Path(__file__).resolve().parents[1]
PRESENT = ("torch", "transformers", "accelerate", "numpy", "pillow", "scipy", "safetensors", "huggingface-hub")
"""What gpu_wheels.sh does not bring."""

QUIET = re.compile(r"[.sxFE]*(\s*\[ *\d+%\])?")
"""Lines of pytest that say nothing more than the verdicts."""

TOOLS = ("pytest", "pytest-xdist", "hypothesis")
TESTS = ("tests/trainer/test_cuda.py", "tests/models/test_cuda.py")
VERDICT = re.compile(r"VERDICT (\S+) (\w+)")
PYTEST = ["-m", "cuda", "-W", "default", "-p", "no:cacheprovider", "-p", "tests.gpu", "--tb=no"]

CARD = """
import json, sys, torch
if sys.argv[1] == "cuda" and not torch.cuda.is_available():
    sys.exit("No CUDA GPU here, or a PyTorch without CUDA. To see whether the script works: --cpu --quick")
known = {"cpu": sys.argv[1] == "cpu", "python": sys.version.split()[0], "torch": torch.__version__}
if sys.argv[1] == "cuda":
    known |= {"card": torch.cuda.get_device_name(), "cuda": torch.version.cuda,
              "memory_gb": torch.cuda.get_device_properties(0).total_memory / 1e9}
    piece = torch.empty(1 << 30, dtype=torch.uint8, device="cuda")
    seconds = []
    for turn in range(8):
        began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        began.record(); other = piece.clone(); ended.record(); torch.cuda.synchronize()
        seconds.append(began.elapsed_time(ended) / 1e3)
    known["copies_gb_per_second"] = 2 * piece.numel() / sorted(seconds)[4] / 1e9
print("CARD " + json.dumps(known))
"""


@dataclass(frozen=True)
class Part:
    """One part. Attributes: its name, its time limit in seconds, and what to run with Python."""

    name: str
    limit: int
    command: list[str]


def parts(chosen: argparse.Namespace, results: Path) -> list[Part]:
    """Return what is to be run, most important first."""
    step = ["benchmarks/train_step.py", "--json", str(results)]
    build = ["benchmarks/build.py", "--json", str(results)]
    if chosen.cpu:
        step += "--toy --together --side 64".split()
        return [
            Part("card", 40, ["-c", CARD, "cpu"]),
            Part("tests", 150, ["-m", "pytest", *PYTEST, *TESTS]),
            Part("steps", 60, [*step, "--batch", "1", "2"]),
            Part("build", 60, [*build, *"--network small --batch 2 --photos 4".split()]),
        ]
    step += "--device cuda --side 512 --precision bf16".split()
    build += "--device cuda --network large --photos 16".split()
    batches = ["1", "8"] if chosen.quick else ["1", "2", "4", "8", "16", "32"]
    largest = ["--way", "ours", "--batch", batches[-1]]
    return [
        Part("card", 40, ["-c", CARD, "cuda"]),
        Part("tests", 160, ["-m", "pytest", "-n", "4", *PYTEST, *TESTS]),
        Part("steps", 120, [*step, "--profile", "--batch", *batches]),
        Part("build", 100, [*build, "--batch", *(["8"] if chosen.quick else ["1", "8", "16"])]),
        Part("steps, compiled", 240, [*step, "--option", "compile", *largest]),  # minutes until the first is taken
        Part("steps, checkpointing", 60, [*step, "--option", "gradient_checkpointing", *largest]),
        Part("steps, contiguous", 60, [*step, "--contiguous", *largest]),
    ]


class Report:
    """What came of it: lines, a table, a log."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.lines, self.table = folder / "gpu.jsonl", folder / "gpu.md"
        self.log: IO[str] = (folder / "gpu.log").open("a")
        self.lines.touch()

    def add(self, **record: Any) -> None:
        """Write one result at once."""
        with self.lines.open("a") as file:
            file.write(json.dumps(record) + "\n")
        self.draw()

    def say(self, text: str) -> None:
        """Print a line, and keep it."""
        print(text, flush=True)
        self.log.write(text + "\n")
        self.log.flush()

    def records(self) -> list[dict[str, Any]]:
        """Return all results so far."""
        return [json.loads(line) for line in self.lines.read_text().splitlines()]

    def draw(self) -> None:
        """Write the table of all results so far."""
        self.table.write_text("\n".join(tables(self.records())) + "\n")


def tables(records: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the lines of a page in Markdown."""
    card = next((record for record in records if "python" in record), {})
    name = f"{platform.machine()}, small networks on the CPU" if card.get("cpu") else platform.machine()
    yield f"## {card.get('card', name)}, torch {card.get('torch', '?')}, {time.strftime('%Y-%m-%d')}"
    if "copies_gb_per_second" in card:
        yield f"\n{card['memory_gb']:.0f} GB; copies {card['copies_gb_per_second']:.0f} GB/s, read and written."
    yield from table("Tests", ("test", "outcome"), [
        (record["test"], record["outcome"]) for record in records if "test" in record
    ])  # fmt: skip
    yield from table("Training steps", ("way", "batch", "s a step", "samples/s", "matrix rate", "peak, GB"), [
        (
            " ".join([record["way"], *record["options"], *["contiguous"] * record["contiguous"]]), record["batch"],
            f"{record['seconds_a_step']:.4f}", f"{record['samples_per_second']:.2f}",
            f"{record['share']:.1%}" if "share" in record else "", f"{record['peak_gb']:.1f}",
        )
        for record in records if "seconds_a_step" in record
    ])  # fmt: skip
    yield from table("Ours to theirs", ("batch", "times as fast", "losses differ by"), [
        (record["batch"], f"{record['ratio']:.2f}", f"{record['losses_differ_by']:.1e}")
        for record in records if "ratio" in record
    ])  # fmt: skip
    yield from table("Largest costs of a step", ("share of the GPU's time", "kernel"), [
        (f"{record['share_of_gpu_time']:.1%}", f"`{record['profile'][:100]}`")
        for record in records if "profile" in record
    ])  # fmt: skip
    yield from table("build-dataset", ("OneFormer", "batch", "photos/s", "GPU busy"), [
        (
            record["network"], record["batch"], f"{record['photos_per_second']:.2f}",
            f"{record['gpu_busy']:.0%}" if record["gpu_busy"] is not None else "",
        )
        for record in records if "photos_per_second" in record
    ])  # fmt: skip
    yield from table("Parts", ("part", "outcome", "seconds"), [
        (record["part"], record["outcome"], f"{record['seconds']:.0f}") for record in records if "part" in record
    ])  # fmt: skip


def table(title: str, heads: tuple[str, ...], rows: list[tuple[Any, ...]]) -> Iterator[str]:
    """Yield the lines of one table; none without rows."""
    if rows:
        yield f"\n### {title}\n"
        for row in (heads, ["---"] * len(heads), *rows):
            yield "| " + " | ".join(map(str, row)) + " |"


def run(part: Part, limit: float, environment: dict[str, str], report: Report) -> str:
    """Run one part; return its outcome. What it prints is shown, kept, and searched for verdicts."""
    process = subprocess.Popen(
        [sys.executable, *part.command], cwd=ROOT, env=environment, text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    late = Timer(limit, os.killpg, (process.pid, signal.SIGKILL))
    late.start()
    try:
        for line in process.stdout or ():
            text = line.rstrip("\n")
            if text.startswith("CARD "):
                report.add(**json.loads(text[5:]))
            elif not text or not QUIET.fullmatch(text):
                report.say(text)
            if verdict := VERDICT.search(text):
                report.add(test=verdict[1], outcome=verdict[2])
        code = process.wait()
    finally:  # stopped by a person, or by SIGTERM: nothing stays on the GPU
        late.cancel()
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    return {0: "done", -signal.SIGKILL: f"stopped at its limit of {limit:.0f} s"}.get(code, f"failed, exit code {code}")


def install(wheels: Path, site: Path) -> None:
    """Install what this Python lacks from a folder of wheels, without a network, into a folder of its own."""
    files = {canonicalize_name(file.name.split("-")[0]): file for file in sorted(wheels.glob("*.whl"))}
    needed = [*requirements(), *(Requirement(name) for name in files)]  # of what was brought along too
    sys.path.insert(0, str(site))
    while lacking := [requirement.name for requirement in unsatisfied(needed)]:
        found = [str(files.pop(name)) for name in dict.fromkeys(map(canonicalize_name, lacking)) if name in files]
        if not found:
            names = sorted(set(map(canonicalize_name, lacking)))
            if own := [name for name in names if name in PRESENT]:
                sys.exit(f"{sys.executable} lacks {', '.join(own)}. PYTHON must name one that has them.")
            sys.exit(f"{', '.join(names)}: not installed. Where there is a network: benchmarks/gpu_wheels.sh {wheels}")
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-compile"]
        if subprocess.run([*command, "--upgrade", "--target", str(site), *found], check=False).returncode:
            sys.exit(f"pip refuses a wheel. Fill the folder again, where there is a network: gpu_wheels.sh {wheels}")
        print(f"installed {', '.join(Path(file).name.split('-')[0] for file in found)} from {wheels}", flush=True)
        invalidate_caches()


def requirements() -> list[Requirement]:
    """Return what training, building and their tests need."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    return [*map(Requirement, [*project["dependencies"], *project["optional-dependencies"]["train"], *TOOLS])]


def unsatisfied(needed: list[Requirement]) -> Iterator[Requirement]:
    """Yield the requirements, and theirs in turn, that are not installed or in a version that will not do."""
    waiting, seen = list(needed), set()
    while waiting:
        requirement = waiting.pop()
        if str(requirement) in seen or (requirement.marker and not requirement.marker.evaluate({"extra": ""})):
            continue
        seen.add(str(requirement))
        try:
            found = metadata.distribution(requirement.name)
        except metadata.PackageNotFoundError:
            yield requirement
            continue
        if not requirement.specifier.contains(found.version, prereleases=True):
            yield requirement
        waiting += map(Requirement, found.requires or ())


def parse() -> argparse.Namespace:
    """Return what was asked for."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument(
        "--wheels", type=Path, default=ROOT / "benchmarks" / "wheels", help="what gpu_wheels.sh filled"
    )
    options.add_argument("--output", type=Path, default=Path("gpu-results"), help="folder of the results")
    options.add_argument("--add", action="store_true", help="add to the results that are in the folder already")
    options.add_argument("--minutes", type=float, default=8.0, help="for all parts together")
    options.add_argument("--only", nargs="+", default=[], metavar="PART", help="such as tests build 'steps, compiled'")
    options.add_argument("--quick", action="store_true", help="fewer batch sizes")
    options.add_argument("--cpu", action="store_true", help="on the CPU, with small networks: does the script work?")
    chosen = options.parse_args()
    chosen.output = chosen.output.resolve()
    if not chosen.minutes > 0:
        options.error(f"--minutes {chosen.minutes}: expected more than 0")
    names = [part.name for part in parts(chosen, chosen.output)]
    if strange := [name for name in chosen.only if name not in names]:
        options.error(f"--only {strange[0]}: no such part; there are {', '.join(map(repr, names))}")
    if (chosen.output / "gpu.jsonl").exists() and not chosen.add:
        options.error(f"{chosen.output} holds results already. Name another --output, or --add to them")
    return chosen


def main() -> None:
    """Run all parts; exit with 1 where one failed."""
    chosen = parse()
    ends = time.monotonic() + 60 * chosen.minutes
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory() as site:
        install(chosen.wheels.resolve(), Path(site))
        threads = "1" if chosen.cpu else "4"  # small networks on many cores only wait for one another
        own = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        environment = {"OMP_NUM_THREADS": threads} | own | {"PYTHONPATH": os.pathsep.join([str(ROOT), site])}
        if chosen.cpu:
            environment |= {"SEGKIT_CUDA_TESTS": "cpu", "CUDA_VISIBLE_DEVICES": ""}
        try:
            report = Report(chosen.output)
        except OSError as error:
            sys.exit(f"--output {chosen.output}: {error.strerror}. Name a folder that can be written.")
        failed = False
        for part in parts(chosen, report.lines):
            if chosen.only and part.name not in chosen.only:
                continue
            outcome = timed(part, ends, environment, report)
            failed |= outcome != "done"
            if part.name == "card" and failed:
                break
    report.say("\n" + report.table.read_text())
    report.say(f"Written: {report.table}, {report.lines}")
    sys.exit(int(failed))


def timed(part: Part, ends: float, environment: dict[str, str], report: Report) -> str:
    """Run a part in what is left of its time; write down how it ended, also where a person stops it."""
    began, outcome = time.monotonic(), "stopped by hand"
    limit = min(part.limit, ends - began)
    try:
        report.say(f"\n== {part.name}, " + (f"at most {limit:.0f} s" if limit > 5 else "no time left"))
        outcome = run(part, limit, environment, report) if limit > 5 else "no time left"
    finally:
        report.add(part=part.name, outcome=outcome, seconds=time.monotonic() - began)
    return outcome


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
