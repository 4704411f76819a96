"""A worker in a process of its own, which a test can kill.

`start DATA_DIR SCRIPT` reads a line from stdin, starts the deployment, prints its state and waits.
`forks` starts the deployment of each data directory that it reads, each in a child that is killed
at the line given before the directory, and prints how that child ended.
"""

import asyncio
import os
import sys
from pathlib import Path

from tests.handlers.killed import kill_at_line
from tests.handlers.runs import a_command, a_count, a_deployment


def write_line(message: str) -> None:
    sys.stdout.write(f"{message}\n")
    sys.stdout.flush()


def start(data_dir: str, script: str) -> None:
    handler = a_command(Path(data_dir), script)
    write_line("prepared")
    sys.stdin.readline()
    write_line(asyncio.run(handler.start(a_deployment())).state)
    sys.stdin.readline()


def forks() -> None:
    for received in sys.stdin:
        line, data_dir = received.split()
        handler = a_count(Path(data_dir))
        child = os.fork()
        if not child:
            kill_at_line(int(line))
            handler._start(a_deployment())  # without asyncio's thread, which is not traced
            os._exit(0)
        _, status = os.waitpid(child, 0)
        write_line(str(os.waitstatus_to_exitcode(status)))


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
