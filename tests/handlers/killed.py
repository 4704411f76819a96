"""kill -9 at a chosen line: `python killed.py 17 supervise.py` runs it up to the 17th line.

Only lines of functions count, and of files that start or write something; of a fork server
(`supervise.py serve`) only its own. Standard library only, as what it runs.
"""

import os
import runpy
import signal
import sys
from types import FrameType
from typing import Any

CO_OPTIMIZED = 1  # of functions; importing inspect is slow
ACTING = ("command.py", "handover.py", "supervise.py", "rundir.py", "launch.py")
FORKING = ("forks.py",)
HANDLERS = os.path.abspath(os.path.join(os.path.dirname(__file__), "../../handlers"))  # noqa: PTH100,PTH118,PTH120


def kill_at_line(number: int, files: tuple[str, ...] = ACTING) -> None:
    left = number

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal left
        code = frame.f_code
        ours = code.co_filename.startswith(HANDLERS) and code.co_filename.endswith(files)
        if not ours or not code.co_flags & CO_OPTIMIZED:  # a module's or a class's own
            return None
        left -= event == "line"
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return trace

    sys.settrace(trace)


if __name__ == "__main__":
    del sys.argv[0]
    kill_at_line(int(sys.argv.pop(0)), FORKING if sys.argv[1:] else ACTING)
    runpy.run_path(sys.argv[0], run_name="__main__")
