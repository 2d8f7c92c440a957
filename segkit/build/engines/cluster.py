"""A connection to a cluster of Ray: to one that runs, or to one that is started on this machine and ended again."""

import logging
import os
import secrets
import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

from segkit import threads
from segkit.build.engines.workplace import workplace
from segkit.errors import EngineError, UsageError

STORE = 2_000_000_000
"""Most bytes of the object store of a cluster on this machine, which holds what is on its way to and from workers."""

LEAST_STORE = 80_000_000
"""What Ray needs at least."""

ATTEMPTS = 3
"""Times that a cluster is started: Ray waits only 15 seconds for some of its parts, too few on a very busy machine."""

INSTALL = "The engine ray needs the package ray. Run: pip install 'segkit[ray]', or use engine=inline."


@dataclass(frozen=True)
class Cluster:
    """What a cluster has.

    Attributes:
        ray: the package.
        cpus, gpus: of all its nodes.
        is_local: whether all of it is on this machine.
    """

    ray: Any
    cpus: float
    gpus: float
    is_local: bool


@contextmanager
def connected(address: str) -> Iterator[Cluster]:
    """Connect to a cluster, and disconnect at the end. A connection that the caller already has is used, and stays.

    The environment and the signal handlers of this process stay as they are.

    Args:
        address: host:port, or "auto" on one of its nodes; "" for RAY_ADDRESS, and without that a new one here.

    Raises:
        EngineError: the package is missing, or the cluster cannot be reached or started.
        UsageError: an address for clients that are no part of the cluster.
    """
    if address.startswith("ray://"):
        raise UsageError(
            f"ray_address={address} is for clients outside the cluster. Run segkit on one of its nodes, with "
            "ray_address=auto or host:port."
        )
    ray = _package()
    if ray.is_initialized():
        yield _described(ray)
        return
    address = address or os.environ.get("RAY_ADDRESS", "")
    with workplace() as folder:
        try:
            _connect(ray, address, folder)
            yield _described(ray)
        finally:
            with unchanged():
                ray.shutdown()


def _package() -> Any:
    try:
        with unchanged():
            import ray
    except ImportError:
        raise EngineError(INSTALL) from None
    return ray


def _connect(ray: Any, address: str, folder: str) -> None:
    what = f"The Ray cluster at {address} cannot be reached" if address else "Ray cannot be started"
    for remaining in reversed(range(1 if address else ATTEMPTS)):
        try:
            return _join(ray, address, folder)
        except Exception as error:  # Ray raises plain Exception, RuntimeError, ConnectionError, ...
            if not remaining:
                first = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
                raise EngineError(f"{what} ({first}). Check it with: ray status; or use engine=inline.") from error
    return None


def _join(ray: Any, address: str, folder: str) -> None:
    options = {"log_to_driver": False, "configure_logging": False, "namespace": "segkit"}
    with unchanged():
        if address:
            ray.init(address=address, **options)
        else:
            os.environ.update(_privacy())
            ray.init(address="local", **options, **_local_resources(), _temp_dir=folder)


def _privacy() -> dict[str, str]:
    """Return variables that keep a cluster private: no statistics for Ray's makers, and a token that no one else has.

    Without one, Ray would write a token into the home folder.
    """
    has_token = any(name.startswith("RAY_AUTH_") for name in os.environ)
    return {"RAY_USAGE_STATS_ENABLED": "0"} | ({} if has_token else {"RAY_AUTH_TOKEN": _token()})


@cache
def _token() -> str:
    """Return one token for all clusters of this process: Ray reads it once."""
    return secrets.token_hex(32)


def _local_resources() -> dict[str, Any]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    free = shutil.disk_usage("/dev/shm").free if os.path.isdir("/dev/shm") else memory  # noqa: PTH112
    store = max(LEAST_STORE, min(STORE, memory // 10, free * 8 // 10))
    return {"num_cpus": cpus_here(), "include_dashboard": False, "object_store_memory": int(store)}


def cpus_here() -> int:
    """Return the cores that this process may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return threads.at_most(cores) or 1


def _described(ray: Any) -> Cluster:
    resources, nodes = ray.cluster_resources(), [node for node in ray.nodes() if node["Alive"]]
    here = ray.util.get_node_ip_address()
    is_local = all(node["NodeManagerAddress"] == here for node in nodes)
    return Cluster(ray, resources.get("CPU", 0.0), resources.get("GPU", 0.0), is_local)


@contextmanager
def unchanged() -> Iterator[None]:
    """Restore what Ray changes in this process: variables of the environment, and what SIGTERM does.

    Meanwhile its log says nothing below errors, such as how it checks tokens.
    """
    environment, log = dict(os.environ), logging.getLogger("ray")
    level = log.level
    log.setLevel(logging.ERROR)
    is_main = threading.current_thread() is threading.main_thread()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)} if is_main else {}
    try:
        yield
    finally:
        log.setLevel(level)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for name in os.environ.keys() - environment.keys():
            del os.environ[name]
        os.environ.update(environment)
