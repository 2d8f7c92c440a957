"""One Ray cluster for all tests of engines, and the photos and the dataset that they compare with."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from segkit.build.engines import cluster
from tests.build.engines.building import PHOTOS, build
from tests.dataset.test_dataset import contents, render

NODE = {"num_cpus": 2, "object_store_memory": 80_000_000, "include_log_monitor": False}
ATTEMPTS = 8
"""Times that a node is started: Ray waits only 15 seconds for parts of it, too few on a very busy machine."""


def started(start: Callable[[], Any]) -> Any:
    """Return a node or a cluster."""
    for attempt in range(ATTEMPTS):
        try:
            return start()
        except Exception:  # Ray raises no other type
            if attempt == ATTEMPTS - 1:
                raise
    return None


@pytest.fixture(scope="package")
def nodes() -> Iterator[Any]:
    """A small Ray cluster on this machine that this process is connected to."""
    import ray
    from ray.cluster_utils import Cluster

    head = {**NODE, "no_monitor": True, "include_dashboard": False}
    with cluster.unchanged():
        nodes = started(lambda: Cluster(initialize_head=True, head_node_args=head))
        ray.init(address=nodes.address, log_to_driver=False, configure_logging=False)
    yield nodes
    with cluster.unchanged():
        ray.shutdown()
        nodes.shutdown()


@pytest.fixture(scope="package")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small rendered photos, among them a mirrored copy, a byte-identical one and a damaged one."""
    folder = render(tmp_path_factory.mktemp("ray") / "photos", PHOTOS)
    with Image.open(folder / "004.png") as image:
        image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(folder / "mirrored.png")
    (folder / "copy.png").write_bytes((folder / "002.png").read_bytes())
    (folder / "damaged.png").write_bytes((folder / "003.png").read_bytes()[:900])
    return folder


@pytest.fixture(scope="package")
def whole(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a build in one process."""
    out = tmp_path_factory.mktemp("whole") / "out"
    build(photos, out, engine="inline")
    return contents(out)
