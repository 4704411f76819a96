"""The scripts in script/ describe themselves, without installing or starting anything."""

import subprocess
from pathlib import Path

import pytest

from tests.chaos.__main__ import MAIN, STORMS

ROOT = Path(__file__).parents[1]
SCRIPTS = sorted(path.name for path in (ROOT / "script").iterdir())


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_has_a_help_of_its_own(name: str, tmp_path: Path) -> None:
    for option in ("--help", "-h"):
        # Without a PATH that has Python or pip.
        (tmp_path / "sed").unlink(missing_ok=True)
        (tmp_path / "sed").symlink_to("/bin/sed" if Path("/bin/sed").exists() else "/usr/bin/sed")
        shown = subprocess.run(
            ["/bin/sh", ROOT / "script" / name, option],
            env={"PATH": str(tmp_path)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert f"Usage: script/{name}" in shown.stdout
        assert shown.stderr == ""


@pytest.mark.parametrize("name", STORMS)
def test_each_storm_has_a_row_with_its_command_in_the_page(name: str) -> None:
    page = (ROOT / "docs" / "reliability.md").read_text()
    command = "script/storm --deployments" if name == MAIN else f"script/storm --{name}"
    assert f"| `{command}" in page
    usage = (ROOT / "script" / "storm").read_text()
    assert command.removesuffix(" --deployments") in usage
