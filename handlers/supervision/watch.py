"""Follows a command until it and its output have ended, and stops it where it must.

A command that ends by itself may leave others of its group behind: a deployment starts services
that stay. What they print is dropped. Stopping a command stops its whole group.

Units: seconds of the monotonic clock.
"""

import contextlib
import fcntl
import math
import os
import select
import shutil
import signal
import time

from handlers import durations
from handlers.supervision.launch import RESTORED, Process
from handlers.supervision.output import Output
from handlers.supervision.rundir import Order, group_lives

DRAIN = 2.0  # others may hold the command's output open for as long as they live
GROUP_POLL = 0.05  # nothing signals that the last process of a group is gone
READ_AT_ONCE = 256 * 1024  # bytes; of the pipe, too, where the system lets it be so large
# setpriority(2): what is only dropped takes little from others where the machine is busy.
DROPS_AT = 10

_SIGNALS = (signal.SIGTERM, signal.SIGCHLD, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)


def catch_signals() -> None:
    """The command inherits what is ignored or blocked here, and so would inherit how the relay was
    started: `nohup` ignores SIGHUP, a script's `&` SIGINT and SIGQUIT. So nothing is: ours have
    handlers, which the command does not inherit."""
    for number in _SIGNALS:
        signal.signal(number, _ignored)
    for number in signal.valid_signals() - {*_SIGNALS, *RESTORED}:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def wake_on_signals() -> int:
    """A pipe that can be read once a signal has come that is caught, with the signals' numbers."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    return reader


def _ignored(*_: object) -> None:
    pass


class Watch:
    def __init__(self, order: Order, process: Process, output: Output, wake: int) -> None:
        self.stopped = ""  # why
        self._process = process
        self._pipe = process.output
        self._output = output
        self._only_drops = False
        self._wake = wake
        self._timeout, self._grace = order.timeout, order.grace
        self._stop_at = time.monotonic() + order.deadline - time.time()
        self._kill_at = self._drained_at = math.inf
        with contextlib.suppress(OSError, AttributeError):  # only Linux has it
            fcntl.fcntl(self._pipe, fcntl.F_SETPIPE_SZ, READ_AT_ONCE)

    def follow(self) -> int:
        """The command's exit code, negative for a signal; `stopped` says why we ended it."""
        while not self._over():
            sources = [source for source in (self._wake, self._pipe) if source >= 0]
            ready, _, _ = select.select(sources, [], [], self._pause())
            if self._pipe in ready:
                self._read()
            self._act(cancelled=self._wake in ready and signal.SIGTERM in os.read(self._wake, 4096))
        return self._process.returncode or 0

    def drop_output(self) -> None:
        """Read what is left of it, for as long as anybody may print something: a service without a
        reader is killed by SIGPIPE at its next line. As a small program without our secrets."""
        if self._pipe < 0:
            return
        os.dup2(self._pipe, 0)
        os.chdir("/")
        with contextlib.suppress(OSError):
            os.execve(shutil.which("cat", path=os.defpath) or "", ["cat"], {})  # noqa: S606
        while os.read(0, 1 << 16):
            pass

    def _over(self) -> bool:
        if self._process.returncode is None or self._group_is_stopping():
            return False
        return self._pipe < 0 or time.monotonic() >= self._drained_at

    def _pause(self) -> float:
        """Seconds for which there is nothing to do without output or a signal."""
        now = time.monotonic()
        if self._process.returncode is None:
            until = self._kill_at if self.stopped else self._stop_at
        else:
            until = now + GROUP_POLL if self._group_is_stopping() else self._drained_at
        return min(max(0.0, until - now), 3600.0)

    def _read(self) -> None:
        data = os.read(self._pipe, READ_AT_ONCE)
        self._output.write(data)
        if self._output.is_full and not self._only_drops:
            self._only_drops = True
            os.nice(DROPS_AT)
        if not data:
            self._pipe = -1

    def _act(self, *, cancelled: bool) -> None:
        now = time.monotonic()
        if self._process.poll() is not None:
            self._drained_at = min(self._drained_at, now + DRAIN)
        elif not self.stopped and (cancelled or now >= self._stop_at):
            self.stopped = (
                "cancelled" if cancelled else f"timed out after {durations.write(self._timeout)}"
            )
            self._signal_group(signal.SIGTERM)
            self._kill_at = now + self._grace
        if now >= self._kill_at:
            self._signal_group(signal.SIGKILL)
            self._kill_at = math.inf

    def _group_is_stopping(self) -> bool:
        return self._kill_at < math.inf and group_lives(self._process.pid)

    def _signal_group(self, number: int) -> None:
        # Gone, or run as another user (sudo), whose processes we cannot signal.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)
