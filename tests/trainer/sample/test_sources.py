"""What a run was trained with is found from any folder."""

from pathlib import Path

import pytest

from segkit.errors import ModelError
from trainer.checkpoints import runs
from trainer.data.examples import Example, Examples
from trainer.run import run_folder
from trainer.sample import sources
from trainer.settings import GenerateSettings, TrainSettings

EXAMPLE = Example(Path("t/a.jpg"), Path("s/a.png"), "a room", 8, 8, "01" * 32, "ab" * 32)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run that was started beside its base, XL, with relative paths; now the folder is another one."""
    (tmp_path / "there" / "XL").mkdir(parents=True)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "there")
    settings, data = TrainSettings(base="XL", vae="stabilityai/sdxl-vae"), Examples("segkit", [EXAMPLE], [], None)
    Path("run", runs.FOLDER).mkdir(parents=True)
    Path("run", runs.FOLDER, "config.json").write_text("{}")
    run_folder.start(Path("run"), settings, run_folder.facts(settings, Path("rooms"), data, 1), data)
    runs.record(Path("run"), 1)
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "there" / "run"


def test_a_relative_base_belongs_to_the_folder_of_the_training(run: Path) -> None:
    """Even if there is one of that name here; names that are no path there stay as they are."""
    Path("XL").mkdir()
    source = sources.sources(GenerateSettings(controlnet=str(run)))
    assert (Path(source.base), source.vae) == (run.parent / "XL", "stabilityai/sdxl-vae")


def test_a_missing_base_is_named_as_the_run_s(run: Path) -> None:
    """Nobody typed it, so the message does not blame an option; one that was typed is blamed."""
    (run.parent / "XL").rmdir()
    base = sources.sources(GenerateSettings(controlnet=str(run))).base
    with pytest.raises(ModelError, match=r"/run was trained on the base XL: no such file .* pass base=PATH\."):
        sources.find_networks(base, "", str(run), "a run")
    with pytest.raises(ModelError, match=r"^base=typed: no such file"):
        sources.find_networks("typed", "", str(run), "a run")
