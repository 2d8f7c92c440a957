"""Shared fixtures: photos and networks of the toy world, and the command line in this process."""

import gc
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests import gpu, s3

# No test may use the network or a user's model cache. Must be set before huggingface_hub is imported.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["MKL_CBWR"] = "AUTO,STRICT"  # as the commands set it; MKL reads it once per process
os.environ.setdefault("OMP_NUM_THREADS", "1")  # more threads slow small networks down on busy cores
_CACHE = Path(tempfile.mkdtemp(prefix="segkit-tests-"))  # keeps caches of libraries out of the home folder
for _name in ("HF_HOME", "IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR", "JUPYTER_CONFIG_DIR"):
    os.environ[_name] = str(_CACHE / _name.lower())

MEMORY, NEEDED = "/dev/shm", 4e9
"""A disk in memory on Linux, and the bytes that must be free there: a run leaves about a tenth."""


def _has_room_in_memory() -> bool:
    """Return whether tests can keep their files in memory: they flush tens of thousands, and disks are slow at that."""
    if sys.platform != "linux" or not os.access(MEMORY, os.W_OK):
        return False
    disk, lines = os.statvfs(MEMORY), Path("/proc/meminfo").read_text().splitlines()
    free = next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable")), 0)
    return not disk.f_flag & os.ST_NOEXEC and min(free, disk.f_bavail * disk.f_frsize) >= NEEDED


if _has_room_in_memory():
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", MEMORY)  # pytest's own variable; --basetemp has precedence

settings.register_profile("segkit", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("segkit")  # no deadlines: results must not depend on the machine's load

LONG = (
    "trainer/step/test_distributed.py", "trainer/test_train.py", "test_docs.py", "test_notebooks.py",
    "commands/test_demo.py", "trainer/sample/test_generate.py", "review/test_page.py",
    "trainer/data/test_latents.py", "models/test_segment.py", "test_api.py", "toy/test_shipped.py",
    "trainer/step/test_reward.py", "trainer/checkpoints/test_load.py", "maps/test_diagnose.py",
    "review/test_labelling.py", "commands/test_build_dataset.py", "trainer/test_sdxl.py", "test_read_only.py",
    "trainer/data/test_examples.py", "trainer/test_shards.py", "trainer/run/test_fidelity.py",
    "trainer/checkpoints/test_prediction.py", "build/test_survey.py", "trainer/sample/test_sampler.py",
    "trainer/evaluate/test_evaluation.py", "trainer/run/test_dry_run.py", "trainer/run/test_run_folder.py",
    "trainer/run/test_previews.py", "toy/world/test_scenes.py", "trainer/checkpoints/test_ldm.py",
    "trainer/checkpoints/test_sdxl_files.py", "commands/test_caption.py", "trainer/run/test_stopping.py",
    "build/test_dry_run.py", "trainer/sample/test_batching.py", "trainer/checkpoints/test_single_file.py",
    "trainer/checkpoints/test_runs.py", "build/test_remote_photos.py", "maps/test_synthesis.py",
    "imports/test_slices.py", "trainer/checkpoints/test_components.py", "commands/test_sources.py",
    "build/test_pipeline.py", "imports/test_pipeline.py", "build/test_captions.py",
    "trainer/checkpoints/test_lora.py", "test_gpu_script.py", "build/engines/test_ray.py",
    "trainer/evaluate/quality/test_measure.py", "remote/test_s3.py", "review/test_ranking.py", "test_kills.py",
    "palette/test_google_sheets.py", "trainer/test_options.py", "dataset/test_saving.py",
    "trainer/checkpoints/test_union.py", "commands/test_bad_photos.py", "trainer/test_refusals.py",
    "imports/test_layouts.py", "trainer/run/test_callbacks.py", "trainer/step/test_loss.py",
    "imports/test_faults.py", "trainer/run/test_validation.py", "trainer/checkpoints/test_fitting.py",
)  # fmt: skip
"""Test files that take more than four CPU seconds, about in this order; `make test-quick` leaves them out."""

NUMBERS = (
    "trainer/step/test_distributed.py", "trainer/test_train.py", "trainer/test_shards.py",
    "trainer/data/test_latents.py", "trainer/run/test_previews.py", "trainer/test_options.py",
    "trainer/step/test_cpu.py",
    "trainer/step/test_optimizers.py", "trainer/checkpoints/test_load.py", "trainer/checkpoints/test_ldm.py",
    "trainer/sample/test_generate.py", "trainer/sample/test_sampler.py", "trainer/sample/test_batching.py",
    "trainer/step/test_learner.py", "trainer/step/test_loss.py", "trainer/step/test_resume.py",
    "models/test_argmax.py", "models/test_segment.py", "models/test_scores.py", "trainer/step/test_reward.py",
    "trainer/evaluate/quality/test_networks.py", "trainer/test_sdxl.py", "trainer/step/test_sdxl.py",
    "trainer/step/test_rollout.py", "trainer/checkpoints/test_lora.py", "trainer/checkpoints/test_union.py",
    "models/test_attention.py", "models/test_layers.py",
)  # fmt: skip
"""Test files that compare results of networks numerically."""


def pytest_configure() -> None:
    """Do not search the libraries' objects for garbage, again and again, while they and the tests are imported."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Leave those objects out of later searches too."""
    gc.freeze()
    gc.enable()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Do not even import long test files if their tests are left out."""
    is_long = collection_path.as_posix().endswith(tuple(f"/tests/{name}" for name in LONG))
    return True if is_long and "not long" in config.option.markexpr else None


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip tests marked `cuda` if there is no GPU."""
    if item.get_closest_marker("cuda") and (reason := gpu.missing()):
        pytest.skip(reason)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by file and run the longest first, so that all workers finish at about the same time."""
    places = {name: place for place, name in enumerate(LONG)}

    def place(item: pytest.Item) -> int:
        return next((places[name] for name in LONG if item.path.as_posix().endswith(f"/tests/{name}")), len(LONG))

    for item in items:
        if place(item) < len(LONG):
            item.add_marker("long")
        if item.path.as_posix().endswith(tuple(f"/tests/{name}" for name in NUMBERS)):
            item.add_marker("numbers")
    items.sort(key=place)


NO_BROWSER = "no Chromium or Chrome on PATH"
"""Why the tests of the review's page are left out; see find_browser."""


def find_browser() -> str | None:
    """Return the browser for the tests of the review's page: SEGKIT_BROWSER, or the first on PATH; None without one.

    Raises:
        FileNotFoundError: SEGKIT_BROWSER is no program.
    """
    if named := os.environ.get("SEGKIT_BROWSER"):
        if shutil.which(named):
            return named
        raise FileNotFoundError(f"SEGKIT_BROWSER is {named}, which is no program")
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return next((path for path in map(shutil.which, names) if path), None)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say in one line that the tests of the page were left out."""
    skipped = [report for report in terminalreporter.stats.get("skipped", []) if NO_BROWSER in str(report.longrepr)]
    if skipped:
        terminalreporter.write_line(f"{len(skipped)} tests of the review's page were left out: {NO_BROWSER}.")


@dataclass(frozen=True)
class Models:
    """Folders of the shipped toy networks and of a CLIP tokenizer."""

    oneformer: Path
    blip: Path
    clip: Path


@dataclass(frozen=True)
class Result:
    """Exit code and output of a command.

    Attributes:
        code: the exit code.
        out: stdout.
        err: stderr without lines of progress and notices, which begin with the time of day.
        progress: those lines, without the time.
    """

    code: int
    out: str
    err: str
    progress: tuple[str, ...] = ()


Segkit = Callable[..., Result]


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    """The shipped OneFormer (ADE labels) and BLIP, and a CLIP tokenizer in which every letter is a token."""
    from segkit.models import hub
    from segkit.toy.learn import networks

    with hub.quiet():
        clip = networks.write_clip_tokenizer(tmp_path_factory.mktemp("models") / "clip")
    return Models(hub.toy_folder() / "segmenter", hub.toy_folder() / "captioner", clip)


@pytest.fixture(scope="session")
def six_photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of six rendered photos in three sizes. Read-only for tests."""
    from segkit.toy import world

    folder = tmp_path_factory.mktemp("six photos")
    for seed in range(6):
        world.scene(seed, ((640, 480), (480, 640), (560, 400))[seed % 3]).photo.save(folder / f"{seed}.jpg", quality=92)
    return folder


@pytest.fixture(scope="session")
def s3_server() -> Iterator[tuple[str, s3.FaultyApp]]:
    """A real S3 server on loopback, with a bucket rooms; see `bucket`."""
    with s3.serving() as server:
        yield server


@pytest.fixture
def bucket(s3_server: tuple[str, s3.FaultyApp], monkeypatch: pytest.MonkeyPatch) -> Iterator[s3.FaultyApp]:
    """A server whose buckets this process reaches as s3://rooms/..., and how to make it fail."""
    import boto3

    address, app = s3_server
    for name, value in s3.environment(address).items():
        monkeypatch.setenv(name, value)
    boto3.client("s3").create_bucket(Bucket="rooms")
    app.requests.clear()
    yield app
    app.faults.clear()


@pytest.fixture(scope="session")
def base(models: Models, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small Stable Diffusion 1 as a diffusers folder, shared by all tests: do not modify it.

    Its blocks have one layer: building and saving networks takes longer than the steps of a short training.
    """
    from tests.trainer.conftest import base_folder

    return base_folder(tmp_path_factory.mktemp("base") / "small", models.clip, layers=1)


@pytest.fixture(scope="session")
def rooms(six_photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of six photos, one of them held out, shared by all tests: do not modify it."""
    from segkit.build import pipeline
    from segkit.build.settings import BuildSettings

    folder = tmp_path_factory.mktemp("rooms") / "rooms"
    settings = BuildSettings(
        segmenter="toy", captioner="toy", size=128, min_size=64, split="val=0.2", keep_duplicates=True
    )
    pipeline.build_dataset(six_photos, folder, settings)
    return folder


@pytest.fixture(scope="module")
def short_callbacks() -> Iterator[None]:
    """Validate with two losses instead of eight, and draw previews with two sampling steps instead of twenty."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trainer.run.validation.MIN_LOSSES", 2)
        patch.setattr("trainer.sample.sampler.STEPS", 2)
        yield


@pytest.fixture
def segkit(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Segkit:
    """Return a function that runs the command line in this process with the given arguments."""
    from segkit import cli

    def run(*arguments: object) -> Result:
        capfd.readouterr()
        monkeypatch.setattr(sys, "argv", ["segkit", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_info:
            cli.main()
        out, err = capfd.readouterr()
        progress = tuple(re.findall(r"^\d\d:\d\d:\d\d (.*)\n", err, re.MULTILINE))
        err = re.sub(r"^\d\d:\d\d:\d\d .*\n", "", err, flags=re.MULTILINE)
        return Result(int(exit_info.value.code or 0), out, err, progress)

    return run


@pytest.fixture(scope="session")
def build_options(models: Models) -> list[str]:
    """Options that make build-dataset use the shipped networks, and count letters so that long prompts are cut."""
    return ["--segmenter", "toy", "--captioner", "toy", "--tokenizer", str(models.clip), "--caption-tokens", "6"]
