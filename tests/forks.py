"""Run a function in a process of its own that may be killed or limited, without the imports of a new interpreter."""

import multiprocessing
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess

ATTEMPT = Callable[..., int]
_CONTEXT = multiprocessing.get_context("forkserver")  # its server has one thread, so that forking it is safe


def start(function: ATTEMPT, *arguments: object) -> ForkServerProcess:
    """Start a function of a module, whose result is the exit code; the module is imported once for all processes."""
    return _start(function.__module__, function, arguments)


def _start(module: str, function: ATTEMPT, arguments: tuple[object, ...]) -> ForkServerProcess:
    _CONTEXT.set_forkserver_preload([module])
    process = _CONTEXT.Process(target=_ended, args=(function, arguments))
    process.start()
    return process


def run(function: ATTEMPT, *arguments: object, file_size: int | None = None) -> subprocess.CompletedProcess[str]:
    """Run a function of a module to its end, whose result is the exit code.

    Args:
        function: a function of a module.
        arguments: its arguments.
        file_size: limit on the size of files it can write, in bytes.

    Returns:
        Exit code (-N after signal N) and output, which must be shorter than a pipe's buffer of 64 KiB.
    """
    pipes = [_CONTEXT.Pipe(duplex=False) for _ in range(2)]
    senders = [sender for _, sender in pipes]
    process = _start(function.__module__, _limited, (function, arguments, senders, file_size))
    for sender in senders:
        sender.close()
    process.join()
    out, err = (_rest(receiver) for receiver, _ in pipes)
    return subprocess.CompletedProcess([], process.exitcode or 0, out, err)


def die_at_flush(number: int) -> None:
    """Let this process kill itself in place of flushing a file or folder for the number-th time."""
    count, fsync = iter(range(1, 10_000)), os.fsync

    def flushed(descriptor: int) -> None:
        if next(count) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        fsync(descriptor)

    os.fsync = flushed  # type: ignore[assignment]


def _limited(function: ATTEMPT, arguments: tuple[object, ...], pipes: list[Connection], file_size: int | None) -> int:
    for stream, sender in enumerate(pipes, start=1):
        os.dup2(sender.fileno(), stream)
    if file_size:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, file_size))
    return function(*arguments)


def _ended(function: ATTEMPT, arguments: tuple[object, ...]) -> None:
    sys.exit(function(*arguments))


def _rest(receiver: Connection) -> str:
    with receiver, os.fdopen(os.dup(receiver.fileno()), encoding="utf-8") as stream:
        return stream.read()
