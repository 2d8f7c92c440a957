"""The script that trained the shipped networks still runs, and its losses fall."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file

from segkit.toy.learn import train

pytestmark = pytest.mark.slow  # three minutes of one core, for a script that rarely changes; its parts have quick tests


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder written by python -m segkit.toy.learn --quick."""
    folder = tmp_path_factory.mktemp("toy") / "weights"

    done = CliRunner().invoke(train.main, ["--quick", "-o", str(folder)])

    assert done.exit_code == 0, done.output
    return folder


def test_losses_fall_and_maps_improve(quick: Path) -> None:
    """After a short run every loss has fallen by a quarter, and the maps are far better than before training."""
    figures = json.loads((quick / "figures.json").read_text())

    courses = [course for name in train.NETWORKS for course in figures[name]["courses"].values()]
    assert len(courses) == 8
    assert all(course["last_loss"] < 0.75 * course["first_loss"] for course in courses)
    segmenter = figures["segmenter"]
    assert segmenter["trained"]["128"]["miou"] > segmenter["untrained"]["128"]["miou"] + 0.1
    assert segmenter["trained"]["128"]["accuracy"] > segmenter["untrained"]["128"]["accuracy"] + 0.3


def test_the_folder_has_the_shipped_layout(quick: Path) -> None:
    """It contains five networks in fp16, their figures and the card; the VAE has a scaling factor of its own."""
    names = set(train.NETWORKS)
    assert {path.name for path in quick.iterdir()} == {*names, "figures.json", "README.md"}
    weights = [path for name in names for path in (quick / name).rglob("*.safetensors")]
    assert len(weights) == 10
    assert json.loads((quick / "base" / "vae" / "config.json").read_text())["scaling_factor"] != 0.18215
    for path in weights:
        dtypes = {tensor.dtype for tensor in load_file(path).values()}
        assert torch.float16 in dtypes
        assert dtypes <= {torch.float16, torch.int64}  # int64: num_batches_tracked of batch normalisation


def test_a_folder_with_files_is_not_overwritten(quick: Path) -> None:
    """Without --force the script, run as a module, stops before it does anything."""
    command = [sys.executable, "-m", "segkit.toy.learn", "--quick", "-o", str(quick)]

    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 2
    assert "is not empty" in done.stderr
    assert "--force" in done.stderr
