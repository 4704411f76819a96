"""The scripts in script/ describe themselves, without installing or starting anything."""

import subprocess
from pathlib import Path

import pytest

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
