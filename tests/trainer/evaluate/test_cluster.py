"""An evaluation whose pictures are drawn and judged in workers on a Ray cluster."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from segkit.build.settings import EngineSettings
from segkit.progress import silent
from tests.trainer.evaluate.conftest import Load
from trainer.evaluate import evaluation
from trainer.evaluate.evaluation import Execution
from trainer.evaluate.settings import EvaluateSettings

if find_spec("ray") is None:
    pytest.skip("Ray is not installed: pip install 'segkit[ray]'", allow_module_level=True)


@pytest.mark.slow
def test_workers_draw_and_judge_what_one_process_does(
    rooms: Path, steering: Path, base: Path, by_brightness: Load, tmp_path: Path
) -> None:
    """Three maps shared by two workers: pictures, judged maps and tables are equal, byte for byte."""
    settings = EvaluateSettings(
        base=str(base), resolution=64, steps=2, device="cpu", guidance=2.0, split="all", judge="toy", limit=3
    )
    two = EngineSettings(engine="ray", workers="2")

    for name, engine in (("inline", EngineSettings()), ("ray", two)):
        execution = Execution(engine, by_brightness)
        evaluation.evaluate([str(steering), "fresh"], rooms, tmp_path / name, settings, silent, execution)

    files = [
        {
            str(path.relative_to(folder)): path.read_bytes()
            for path in folder.rglob("*.*")
            if path.suffix in (".png", ".csv")
        }
        for folder in (tmp_path / "inline", tmp_path / "ray")
    ]
    assert files[0] == files[1]
    assert len(files[0]) > 3 * 4
