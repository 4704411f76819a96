"""What the processes of `up`, which are forked from it, hold in memory."""

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
