"""Messages name commands as whoever reads them can type them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from webhook.invocation import command

SITE = "/opt/relay/.venv/lib/python3.11/site-packages/webhook/__main__.py"


@pytest.mark.parametrize(
    ("called", "program", "named"),
    [
        ([".venv/bin/python", "-m", "webhook", "check"], SITE, ".venv/bin/python -m webhook"),
        (["python", "-I", "-m", "webhook", "up"], SITE, "python -I -m webhook"),
        (["/a b/python", "-m", "webhook"], SITE, "'/a b/python' -m webhook"),
        (["python", "-m", "pytest"], "/x/pytest/__main__.py", "python -m webhook"),
        (["py", "/v/bin/gitploy-relay", "up"], "/v/bin/gitploy-relay", "/v/bin/gitploy-relay"),
    ],
)
def test_a_command_is_named_as_it_was_typed(called: list[str], program: str, named: str) -> None:
    assert command(called, program) == named


def test_an_installed_command_on_the_path_is_named_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "gitploy-relay"
    script.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert command(["python", str(script), "check"], str(script)) == "gitploy-relay"


def test_processes_of_up_name_the_command_that_started_it() -> None:
    code = "from webhook.invocation import COMMAND; print(COMMAND)"
    given = {**os.environ, "GITPLOY_RELAY_COMMAND": "gitploy-relay"}
    shown = subprocess.check_output([sys.executable, "-c", code], env=given, text=True)
    assert shown == "gitploy-relay\n"


def test_a_wrong_use_names_the_command_too() -> None:
    called = [sys.executable, "-m", "webhook", "nothing"]
    shown = subprocess.run(called, capture_output=True, text=True, check=False)
    assert f"Try '{sys.executable} -m webhook --help' for help." in shown.stderr
