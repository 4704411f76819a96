"""The recipes of docs/how-to/report-from-a-tool.md that can run here work unchanged."""

import asyncio
import os
import re
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.status_api.reporting import CLIENTS, Tool, at_work, needed, octokit, shared_world

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "report-from-a-tool.md").read_text()
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module")
async def tool(postgres: str, tmp_path: Path) -> AsyncIterator[Tool]:
    async with (
        shared_world(postgres, tmp_path) as world,
        at_work(world, tmp_path / "gate") as tool,
    ):
        yield tool


@pytest.mark.slow
async def test_each_recipe_reports_with_a_commands_environment_variables(tool: Tool) -> None:
    curl = shutil.which("curl") or needed("install curl")
    recipes = {
        "sh": [shutil.which("sh") or "/bin/sh"],
        "js": [octokit(), "--input-type=module", "-"],
        "python": [sys.executable, "-"],
    }
    for language, command in recipes.items():
        [recipe] = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.M | re.S)
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=CLIENTS,
            env={"PATH": f"{Path(curl).parent}{os.pathsep}{os.defpath}", **variables(tool)},
            stdin=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
        )
        _, errors = await process.communicate(recipe.encode())
        assert process.returncode == 0, errors.decode()
    assert [entry["description"] for entry in tool.kept()] == ["2 of 5 hosts done"] * len(recipes)


def variables(tool: Tool) -> dict[str, str]:
    return {
        "DEPLOYMENT_ID": str(tool.id),
        "DEPLOYMENT_REPO": "acme/site",
        "DEPLOYMENT_REPORT_URL": tool.report.url,
        "DEPLOYMENT_REPORT_API": tool.report.api,
        "DEPLOYMENT_REPORT_TOKEN": tool.report.token,
    }
