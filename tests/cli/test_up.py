"""The processes of `up`, which are forked from it."""

import subprocess
import sys
from pathlib import Path

from webhook.cli.up import SHARED

# Only commands, migrations and tests need these.
UNNEEDED = {"alembic", "sqlalchemy", "mako", "sandbox", "pytest", "unittest"}


def test_what_only_some_commands_need_is_not_imported_by_the_processes_of_up() -> None:
    """Whatever is, they hold as long as they run: Alembic with SQLAlchemy is 36 MB."""
    code = f"import webhook.cli, {', '.join(SHARED)}, sys; print(*sys.modules)"
    command = [sys.executable, "-W", "ignore", "-c", code]
    shown = subprocess.check_output(command, cwd=Path(__file__).parents[2], text=True)
    found = {name.partition(".")[0] for name in shown.split()} & UNNEEDED
    assert not found, f"import {found} in the function that needs it, as webhook.store.schema does"


FORKS = """
import os, signal, sys
from webhook.cli.processes import Forks, Signals

def command(_arguments):
    print("ended" if os.read(0, 1) == b"" else "read", flush=True)

with open(sys.argv[1], "w") as lock:
    Forks(Signals({signal.SIGTERM}), lock).start("web", [], command)
    os._exit(0)  # as it is killed
"""


def test_a_process_of_up_ends_with_it_even_where_up_itself_has_no_stdin(tmp_path: Path) -> None:
    command = f"exec {sys.executable} -c '{FORKS}' {tmp_path}/lock <&-"
    shown = subprocess.check_output(
        command, shell=True, cwd=Path(__file__).parents[2], text=True, timeout=30
    )
    assert shown == "ended\n"
