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
from trainer.evaluate.workers import Worker


@pytest.mark.parametrize(("maps", "processes"), [(3, 2), (6, 2), (2, 3), (7, 4)])
def test_what_is_judged_was_drawn_by_the_same_process(maps: int, processes: int) -> None:
    """Whatever the number of maps, all items of one, such as its pictures by several ControlNets, are in one share."""
    items = [(drawing, place) for drawing in range(3) for place in range(maps)]
    shares = [Worker(rank, processes).share(items, maps) for rank in range(processes)]

    assert sorted(item for share in shares for item in share) == items
    for rank, share in enumerate(shares):
        assert {place for _, place in share} == set(Worker(rank, processes).share(range(maps)))


@pytest.mark.slow
@pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed: pip install 'segkit[ray]'")
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
