"""A server as real processes, and what they take."""

import contextlib
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.load import HOST

_READY_WITHIN = 120
_STOPS_WITHIN = 5
_SERVES_AFTER = 0.3


@dataclass(frozen=True)
class Usage:
    """Of all processes of a server: CPU seconds until now, and the most memory that each took."""

    cpu: float
    rss_mb: float


class Server:
    def __init__(self, process: "subprocess.Popen[bytes]", port: int) -> None:
        self.port = port
        self._process = process
        self._all = [psutil.Process(process.pid)]

    @property
    def pids(self) -> list[int]:
        return [process.pid for process in self._all]

    def find_processes(self) -> None:
        """Those that serve; not what one of them starts for a delivery, which ends soon."""
        found = self._all[0].children(recursive=True)
        time.sleep(_SERVES_AFTER)
        self._all = [self._all[0], *(child for child in found if child.is_running())]

    def usage(self) -> Usage:
        times = [process.cpu_times() for process in self._all]
        used = sum(t.user + t.system + t.children_user + t.children_system for t in times)
        return Usage(used, sum(_highest_rss(pid) for pid in self.pids) / 1024)

    def wait_until_it_listens(self) -> None:
        end = time.monotonic() + _READY_WITHIN
        while time.monotonic() < end and self._process.poll() is None:
            with contextlib.suppress(OSError):
                socket.create_connection((HOST, self.port), timeout=1).close()
                return
            time.sleep(0.05)
        raise TimeoutError("the server does not listen")


def _highest_rss(pid: int) -> int:
    """In KiB. Source: man 5 proc_pid_status."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1])
    return 0


@contextlib.contextmanager
def running(
    command: Sequence[str], environ: Mapping[str, str], port: int, folder: Path
) -> Iterator[Server]:
    """In a session of its own, which ends with the block. Only its errors are kept."""
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            command,
            env={**os.environ, **environ, "PORT": str(port)},
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            start_new_session=True,
        )
        try:
            server = Server(process, port)
            server.wait_until_it_listens()
            yield server
        except Exception:
            errors.seek(0)
            os.write(2, errors.read()[-2000:])
            raise
        finally:
            _stop(process)


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_STOPS_WITHIN)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
