"""How this program was called, so that messages name commands that can be run where they are read:
`.venv/bin/python -m webhook`, `python -m webhook`, or `gitploy-relay` of an installed wheel."""

import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

# `up` hands it on to processes that it starts in another way.
VARIABLE = "GITPLOY_RELAY_COMMAND"
_MODULE = ["-m", "webhook"]
_SCRIPT = "gitploy-relay"
_DEFAULT = "python -m webhook"


def command(called: Sequence[str], program: str) -> str:
    """Of the process's own arguments, and the file that Python runs."""
    for end in range(1, len(called)):
        if called[end : end + 2] == _MODULE:
            return shlex.join(called[: end + 2])
    if Path(program).name != _SCRIPT:
        return _DEFAULT
    found = shutil.which(_SCRIPT)
    return _SCRIPT if found and Path(found).samefile(program) else shlex.quote(program)


COMMAND = os.environ.get(VARIABLE) or command(sys.orig_argv, sys.argv[0])


def as_typed() -> str:
    """The command with its arguments; without them where another program runs this code."""
    ours = Path(sys.argv[0]).name == _SCRIPT or Path(sys.argv[0]).parent.name == "webhook"
    return f"{COMMAND} {shlex.join(sys.argv[1:])}".strip() if ours else COMMAND
