"""segkit train: options, the config file, and how a training ends."""

import json
from pathlib import Path

import pytest
import tomli_w

from tests.conftest import Segkit
from tests.trainer.runs import toml, words


def test_flags_override_the_config(rooms: Path, base: Path, tmp_path: Path, segkit: Segkit) -> None:
    """The run keeps the resolved run.toml, which resumes it."""
    (tmp_path / "my.toml").write_text(tomli_w.dumps(toml(rooms, base, tmp_path / "run", steps=1, seed=7, flip=False)))

    done = segkit("train", "--config", tmp_path / "my.toml", "--seed", 8)
    again = segkit("train", "--config", tmp_path / "run" / "run.toml", "--json")

    import tomllib

    saved = tomllib.loads((tmp_path / "run" / "run.toml").read_text())
    assert (done.code, saved["seed"], saved["flip"], saved["steps"]) == (0, 8, False, 1)
    assert (again.code, json.loads(again.out)["resumed"]) == (0, 1)


def test_a_dataset_is_required(segkit: Segkit, tmp_path: Path) -> None:
    """Without an argument it must be set in the config file."""
    (tmp_path / "my.toml").write_text("steps = 1")

    for arguments in ([], ["--config", tmp_path / "my.toml"]):
        done = segkit("train", *arguments)
        assert (done.code, done.out) == (2, "")
        assert "No dataset given. Run segkit train DATASET, or set dataset in the --config file." in done.err


def test_the_default_run_is_named_after_the_dataset(
    segkit: Segkit, rooms: Path, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without -o it lies in the current folder, which a dry run leaves without it."""
    monkeypatch.chdir(tmp_path)
    line = words(rooms, base, tmp_path, no_cache=True)
    del line[2:4]  # -o

    done = segkit(*line, "--dry-run")

    assert done.code == 0, done.err
    assert "Nothing was written to rooms-run." in done.out
    assert not (tmp_path / "rooms-run").exists()
