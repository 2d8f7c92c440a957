"""Servers of the review for tests: in a thread of this process, and as the command."""

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from segkit.dataset import Dataset
from segkit.review import server
from segkit.review.findings import Findings
from segkit.review.session import NO_NETWORKS, Networks, Session

ROOT = Path(__file__).parents[2]


@contextmanager
def served(dataset: Dataset, networks: Networks = NO_NETWORKS, findings: Findings | None = None) -> Iterator[str]:
    """Serve a dataset in a thread; yields the URL with the token."""
    ready = threading.Event()
    session = Session(dataset, networks=networks, findings=findings)
    running = server.Server(session, "127.0.0.1", 0, lambda _: ready.set())
    thread = threading.Thread(target=running.run)
    thread.start()
    try:
        assert ready.wait(30)
        yield running.url
    finally:
        running.stop()
        thread.join()


@contextmanager
def command(folder: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run `segkit review` as a process of its own; yields it and the URL."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "segkit", "review", str(folder), "--no-browser", *options],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True,
    )  # fmt: skip
    try:
        assert process.stdout
        url = re.search(r"http\S+", process.stdout.readline())
        assert url, process.stderr and process.stderr.read()
        yield process, url[0]
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.communicate()
