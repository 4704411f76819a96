"""Processes that share the memory of what was imported before they began.

They are forked, not executed anew: Python's modules are most of what a process of the relay needs,
and reading them is most of the time of its start. So whoever forks has no thread and no event loop.
"""

import gc
import os
import select
import signal
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn, TextIO

from webhook import invocation
from webhook.invocation import COMMAND

# Where a process that is forked may not use Apple's frameworks, as urllib does to find a proxy.
EXECUTES_ANEW = sys.platform == "darwin"


class Signals:
    """Signals as what is waited for: none interrupts what runs, and none is lost.

    Source: docs.python.org, `signal.set_wakeup_fd`.
    """

    def __init__(self, numbers: Iterable[signal.Signals]) -> None:
        self._reader, self._writer = os.pipe()
        for end in (self._reader, self._writer):
            os.set_blocking(end, False)
        self._before = {number: signal.signal(number, _pass) for number in numbers}
        signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)

    def wait(self, seconds: float) -> frozenset[int]:
        """Those that arrived, also before this was called; none after so long."""
        ready, _, _ = select.select([self._reader], [], [], seconds)
        return frozenset(os.read(self._reader, 4096)) if ready else frozenset()

    @contextmanager
    def blocked(self) -> Iterator[None]:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, self._before)
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def close(self) -> None:
        """All are handled again as they were before."""
        signal.set_wakeup_fd(-1)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        os.close(self._reader)
        os.close(self._writer)


class Terminal:
    """Of a process that a person has started in one; made before signals are handled."""

    def __init__(self) -> None:
        survives = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN  # as nohup leaves it
        self._needed = [] if survives else [fd for fd in range(3) if os.isatty(fd)]

    def is_closed(self) -> bool:
        """So that the process ends: the kernel sends SIGHUP then, too."""
        return not all(os.isatty(fd) for fd in self._needed)


def _pass(_number: int, _frame: object) -> None:
    pass


class Forks:
    """Forks the processes of `up`. They end when it does, however it ends: what they read at stdin
    is a pipe that nobody writes to."""

    def __init__(self, signals: Signals, lock: TextIO) -> None:
        self._signals = signals
        self._lock = lock
        self._stdin, self._lifeline = os.pipe()

    @staticmethod
    def share_memory() -> None:
        """Let the memory of all that exists now stay shared: a collection would write to it."""
        gc.collect()
        gc.freeze()

    def start(self, name: str, arguments: Sequence[str], command: Callable[..., object]) -> int:
        """The id of a process that runs this command; an `OSError` if there can be none now."""
        with self._signals.blocked():
            pid = os.fork()
            if pid == 0:
                self._prepare(name, arguments)
        if pid == 0:
            _run(command, arguments)
        return pid

    def _prepare(self, name: str, arguments: Sequence[str]) -> None:
        # A session of its own: Ctrl-C reaches `up` alone.
        os.setsid()
        self._signals.close()
        self._lock.close()
        os.dup2(self._stdin, 0)
        for end in {self._stdin, self._lifeline} - {0}:  # 0 where `up` itself had no stdin
            os.close(end)
        sys.argv[1:] = arguments
        with suppress(OSError):  # as ps, top and pgrep show it; Linux only
            Path("/proc/self/comm").write_text(f"relay-{name}")


def _run(command: Callable[..., object], arguments: Sequence[str]) -> NoReturn:
    """Never returns to what the process that was forked does."""
    code = 1
    try:
        if EXECUTES_ANEW:
            program = [sys.executable, "-m", "webhook", *arguments]
            os.execve(program[0], program, {**os.environ, invocation.VARIABLE: COMMAND})  # noqa: S606 - no shell is wanted
        command(arguments)
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    except BaseException:  # noqa: BLE001 - as Python itself shows what ends a process
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)


def ended(pid: int) -> int | None:
    """The exit code of a process that has ended; negative if a signal ended it."""
    found, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if found else None
