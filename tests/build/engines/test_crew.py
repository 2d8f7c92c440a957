"""How many workers a cluster gets, and what each of them has; no cluster is needed to find out."""

import pytest

from segkit.build.engines import crew
from segkit.build.engines.cluster import Cluster
from segkit.build.engines.crew import CrewSettings, Share
from segkit.errors import UsageError


@pytest.mark.parametrize(
    ("cpus", "gpus", "options", "share"),
    [
        (64, 8, {}, Share(8, 8, 1)),  # a machine with eight GPUs: every one
        (256, 32, {}, Share(32, 8, 1)),  # four such machines
        (64, 8, {"gpus_per_worker": "0.5"}, Share(16, 4, 0.5)),
        (64, 8, {"gpus_per_worker": "3"}, Share(2, 32, 3)),
        (64, 8, {"workers": "3"}, Share(3, 21, 1)),
        (64, 8, {"device": "cpu"}, Share(64, 1, 0)),
        (64, 8, {"gpus_per_worker": "0"}, Share(64, 1, 0)),
        (6, 0, {}, Share(6, 1, 0)),  # without GPUs, every core
        (2, 0, {"workers": "4"}, Share(4, 0.5, 0)),
        (8, 1, {"device": "cuda"}, Share(1, 8, 1)),
    ],
)
def test_auto_uses_every_gpu_else_every_core(cpus: float, gpus: float, options: dict[str, str], share: Share) -> None:
    """What is not set is derived from the resources that Ray reports of all nodes."""
    settings = CrewSettings(engine="ray", **options)  # type: ignore[arg-type]

    assert crew.share(settings, Cluster(None, cpus, gpus, is_local=True)) == share


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"workers": "9"}, "workers=9 with gpus_per_worker=1 need 9 GPUs; the Ray cluster has 8"),
        ({"workers": "2", "gpus_per_worker": "5"}, "need 10 GPUs"),
        ({"gpus_per_worker": "9"}, "workers=1 with gpus_per_worker=9 need 9 GPUs"),
        ({"device": "cuda:1"}, "Ray chooses the GPU of each worker. Use device=auto or cuda"),
    ],
)
def test_more_than_the_cluster_has_is_refused(options: dict[str, str], line: str) -> None:
    """One line says what is needed, and what there is."""
    settings = CrewSettings(engine="ray", **options)  # type: ignore[arg-type]

    with pytest.raises(UsageError, match=line):
        crew.share(settings, Cluster(None, 64, 8, is_local=True))
