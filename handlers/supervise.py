"""Runs one command to its end, whatever becomes of the worker that asked for it.

Started as `python -I -S supervise.py` in a session of its own, with an `Order` as JSON on stdin.
Answers on stdout, then lets go of it:

    ready           the run is ours and its command was started, or that failed and is recorded
    taken           another supervisor has this run
    failed: ...     nothing was started

Signals: SIGTERM cancels the run.
"""

import contextlib
import errno
import json
import os
import sys
import types
from pathlib import Path

if __name__ == "__main__":
    # handlers/__init__.py would load every handler and what they need; an empty package stands in.
    package = types.ModuleType("handlers")
    package.__path__ = [str(Path(__file__).parent)]
    sys.modules["handlers"] = package

from handlers.supervision import ending, rundir
from handlers.supervision.launch import StartError, launch
from handlers.supervision.output import Output
from handlers.supervision.watch import Watch, wake_on_signals


def main() -> None:
    wake = wake_on_signals()  # before anybody can find the run and cancel it
    try:
        order = rundir.Order(**json.loads(sys.stdin.buffer.read()))
    except ValueError:
        return  # the worker died before it had said everything
    try:
        directory = claim(Path(order.directory))
    except OSError as error:
        answer(f"failed: {error}")
        return
    if directory:
        run(order, directory, wake)
    else:
        answer("taken")


def claim(directory: Path) -> Path | None:
    """The run's directory, if nobody was before us.

    Everything in it is in place before it gets its name, and a directory cannot be renamed to one
    that has content: of any number of supervisors, one succeeds.
    """
    draft = directory.with_name(f".{directory.name}.{os.getpid()}.{os.urandom(4).hex()}")
    draft.mkdir(mode=0o700, parents=True)
    try:
        rundir.lock(draft)
        rundir.write(draft, "supervisor", {"pid": os.getpid()})
        (draft / "output").touch()
        draft.rename(directory)
    except OSError as error:
        remove(draft)
        # Its directory is in the way, or the one who has won has removed our draft.
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT):
            return None
        raise
    # A run that a power failure makes unheard of would be started again.
    rundir.sync(directory.parent)
    rundir.sync(directory.parent.parent)
    for late in directory.parent.glob(f".{directory.name}.*"):
        remove(late)
    return directory


def run(order: rundir.Order, directory: Path, wake: int) -> None:
    output = Output(directory / "output", order.output_limit, order.secrets)
    try:
        process = launch(order, directory)
    except StartError as error:
        ending.record(directory, order, "error", str(error))
        answer("ready")
        return
    answer("ready")
    watch = Watch(order, process, output, wake)
    code = watch.follow()
    output.close()
    state, words = ending.outcome(code, output.last_line())
    if watch.stopped:
        state, words = "error", watch.stopped
    ending.record(directory, order, state, words, output.environment_url)


def answer(words: str) -> None:
    with contextlib.suppress(OSError):  # the worker may be gone
        os.write(1, words.encode())
    with Path(os.devnull).open("r+b", buffering=0) as nothing:
        for stream in (0, 1, 2):
            os.dup2(nothing.fileno(), stream)


def remove(draft: Path) -> None:
    with contextlib.suppress(OSError):
        for file in draft.iterdir():
            file.unlink(missing_ok=True)
        draft.rmdir()


if __name__ == "__main__":
    main()
