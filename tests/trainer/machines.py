"""Two machines in one: network namespaces, joined by a pair of virtual Ethernet devices and by nothing else."""

import ctypes
import os
import secrets
import shutil
import socket
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

PORT = 29500


PORT = 29500
_HOST_NAME, _MOUNTS, _NETWORK = 0x04000000, 0x00020000, 0x40000000
"""Kinds of namespaces, as clone(2) calls them: CLONE_NEWUTS, CLONE_NEWNS, CLONE_NEWNET."""


@dataclass(frozen=True)
class Machine:
    """A network namespace with one Ethernet device, its own loopback and its own host name.

    Attributes:
        rank: number of the machine.
        namespace: its name.
        device: its Ethernet device.
        address: its address, which the other machine reaches.
    """

    rank: int
    namespace: str
    device: str
    address: str

    def start(
        self, function: Callable[[], object], log: Path, mounts: Sequence[Sequence[str]] = (), **variables: object
    ) -> int:
        """Call a function in a fork of this process on this machine, and return the fork's process id.

        PyTorch and diffusers, once imported here, need not be imported again.

        Args:
            function: its result is the exit code.
            log: file for the output.
            mounts: what it sees in other places than the other machine, as arguments of `mount`.
            variables: environment variables.
        """
        if pid := os.fork():
            return pid
        code: object = 1
        try:
            self._enter(mounts)
            with log.open("w") as file:
                for stream in (1, 2):
                    os.dup2(file.fileno(), stream)
            sys.stdout, sys.stderr = (os.fdopen(stream, "w", buffering=1) for stream in (1, 2))  # not pytest's
            os.environ.setdefault("GLOO_SOCKET_IFNAME", self.device)
            os.environ |= {name: str(value) for name, value in variables.items()}
            code = function()
        except SystemExit as exit_:
            code = exit_.code
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(code if isinstance(code, int) else 0)

    def _enter(self, mounts: Sequence[Sequence[str]]) -> None:
        """Move this process to the machine."""
        libc = ctypes.CDLL(None, use_errno=True)
        with Path(f"/run/netns/{self.namespace}").open() as namespace:
            results = [libc.setns(namespace.fileno(), _NETWORK), libc.unshare(_HOST_NAME | _MOUNTS)]
        if any(results):
            raise OSError(ctypes.get_errno(), "cannot enter the namespace")
        socket.sethostname(f"node-{self.rank}")
        for words in (["--make-rprivate", "/"], *mounts):
            subprocess.run(["mount", *words], check=True)

    def trainer(
        self, toml: Path, log: Path, first: "Machine", mounts: Sequence[Sequence[str]] = (), **variables: object
    ) -> int:
        """Start the trainer as one process of two, without a launcher, as srun or Kubernetes do.

        Args:
            toml: the run.toml.
            log: file for the output.
            first: machine of process 0.
            mounts: as for `start`.
            variables: further environment variables.
        """
        place = {"RANK": self.rank, "WORLD_SIZE": 2, "LOCAL_RANK": 0, "MASTER_ADDR": first.address, "MASTER_PORT": PORT}

        def train() -> None:
            from trainer import __main__ as command

            sys.argv = ["trainer", str(toml)]
            command.main()

        return self.start(train, log, mounts, **(place | variables))


@contextmanager
def pair() -> Iterator[tuple[Machine, Machine]]:
    """Yield two machines; they and all that runs in them end with the context.

    Raises:
        subprocess.CalledProcessError: namespaces cannot be created.
    """
    name = secrets.token_hex(3)
    machines = [Machine(rank, f"segkit-{name}-{rank}", f"sk{name}{rank}", f"10.77.0.{rank + 1}") for rank in (0, 1)]
    first, second = machines
    try:
        for machine in machines:
            _ip("netns", "add", machine.namespace)
        _ip("link", "add", first.device, "type", "veth", "peer", "name", second.device)
        for machine in machines:
            _ip("link", "set", machine.device, "netns", machine.namespace)
            _ip("-n", machine.namespace, "address", "add", f"{machine.address}/24", "dev", machine.device)
            for device in ("lo", machine.device):
                _ip("-n", machine.namespace, "link", "set", device, "up")
        yield first, second
    finally:
        for machine in machines:
            pids = subprocess.run(
                ["ip", "netns", "pids", machine.namespace], capture_output=True, text=True, check=False
            )
            for pid in pids.stdout.split():
                with suppress(ProcessLookupError):
                    os.kill(int(pid), 9)
            subprocess.run(["ip", "netns", "delete", machine.namespace], capture_output=True, check=False)


def unavailable() -> str:
    """Return why there can be no namespaces here; "" if there can."""
    if shutil.which("ip") is None:
        return "the command ip is missing"
    try:
        with pair():
            return ""
    except subprocess.CalledProcessError as error:
        return f"network namespaces are not permitted: {error.stderr.strip()}"


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)
