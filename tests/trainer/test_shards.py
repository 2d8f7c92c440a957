"""Training from shards is the same computation as training on the dataset that they were exported from."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Segkit
from tests.trainer.runs import log, same, train, weights_of, words
from trainer.settings import TrainSettings

pytestmark = pytest.mark.usefixtures("short_callbacks")

VALIDATED: dict[str, Any] = {"evaluate_every": 1000}


@pytest.fixture(scope="module", params=[{}, {"no_cache": True}], ids=["cache", "no-cache"])
def options(request: pytest.FixtureRequest) -> dict[str, bool]:
    """Options with the latent cache and without."""
    chosen: dict[str, bool] = request.param
    return chosen


@pytest.fixture(scope="module")
def whole(
    rooms: Path, base: Path, options: dict[str, bool], short_callbacks: None, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """An uninterrupted run of six steps on the dataset itself. Do not modify it."""
    return train(rooms, base, tmp_path_factory.mktemp("whole") / "run", **VALIDATED, **options)


def test_a_run_from_shards_equals_that_on_the_dataset(
    whole: Path, shards: Path, url: str, base: Path, options: dict[str, bool], tmp_path: Path
) -> None:
    """Losses, validation and weights are bit-equal, although it went on from a folder of shards to their URL."""
    run = train(shards, base, tmp_path / "run", steps=3, **VALIDATED, **options)
    train(url, base, run, **VALIDATED, **options)

    assert log(run) == log(whole)
    assert same(weights_of(run), weights_of(whole))


@pytest.mark.parametrize("options", [{}], ids=["cache"], indirect=True)
def test_a_run_goes_on_from_shards_to_their_dataset(
    whole: Path, rooms: Path, url: str, base: Path, tmp_path: Path, segkit: Segkit
) -> None:
    """A URL is an argument like a folder; the same run is resumed with the dataset, since the data is the same."""
    first = segkit(*words(url, base, tmp_path / "run", steps=3, shard_cache=0, **VALIDATED))
    second = segkit(*words(rooms, base, tmp_path / "run", **VALIDATED), "--json")

    assert (first.code, first.err, second.code) == (0, "", 0)
    assert json.loads(second.out)["resumed"] == 3
    assert log(tmp_path / "run") == log(whole)
    assert same(weights_of(tmp_path / "run"), weights_of(whole))
    assert not (tmp_path / "run" / "cache" / "shards").exists()
    assert f'dataset = "{rooms}"' in (tmp_path / "run" / "run.toml").read_text()


def test_copies_and_latents_are_kept_for_the_next_run(
    url: str, base: Path, tmp_path: Path, requests_made: list[tuple[str, int, int]]
) -> None:
    """With a common cache_dir, a second run encodes nothing and reads nothing of the shards but their index."""
    options = {"steps": 1, "balance": True, "cache_dir": str(tmp_path / "caches")}
    train(url, base, tmp_path / "first", **options)
    assert [name for name, _, _ in requests_made if name.endswith(".tar")]
    requests_made.clear()
    train(url, base, tmp_path / "second", **options)

    assert {name for name, _, _ in requests_made} == {"index.json"}
    assert same(weights_of(tmp_path / "first"), weights_of(tmp_path / "second"))
    assert not (tmp_path / "second" / "cache").exists()


def test_a_dry_run_plans_the_copies(url: str, base: Path, tmp_path: Path, segkit: Segkit) -> None:
    """It names where the shards are, their size, and where copies will be kept; the run folder is not created."""
    planned = segkit(*words(url, base, tmp_path / "run", shard_cache="2GB"), "--dry-run")

    assert planned.code == 0
    assert re.search(r"Shards of [\d.]+ kB at ", planned.out)
    assert f" at {url}: what is read is kept in {tmp_path / 'run' / 'cache' / 'shards'}" in planned.out
    assert "at most 2 GB; all of it fits. 0 B of them are there." in planned.out
    assert not (tmp_path / "run").exists()


def test_a_full_folder_is_left_alone(shards: Path, base: Path, tmp_path: Path, segkit: Segkit) -> None:
    """Nothing is written to a folder that is not a run's, not even what was checked."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "note.txt").write_text("mine")
    refused = segkit(*words(shards, base, tmp_path / "mine"))

    assert refused.code == 2
    assert "contains files that are not a run's" in refused.err
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["note.txt"]


@pytest.mark.parametrize(("text", "size"), [("50GB", 50 * 10**9), ("0", 0), ("1.5 gb", 1_500_000_000)])
def test_the_size_of_the_copies_is_read(text: str, size: int) -> None:
    """In units of 1000 bytes; 0 keeps none."""
    assert TrainSettings(shard_cache=text).shard_cache_bytes == size


def test_a_wrong_size_is_refused(shards: Path, base: Path, tmp_path: Path, segkit: Segkit) -> None:
    """The option is named, with examples."""
    refused = segkit(*words(shards, base, tmp_path / "run", shard_cache="much"))
    assert (refused.code, refused.err.splitlines()[-1]) == (
        2, "--shard-cache 'much': expected a size such as 50GB or 500MB, or 0.",
    )  # fmt: skip
