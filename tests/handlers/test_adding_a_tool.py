"""docs/how-to/add-a-tool.md is up to date, and its handler works from GitHub to GitHub."""

import ast
import re
from pathlib import Path
from typing import Any

import pytest

from handlers import HANDLERS
from handlers.woodpecker import WoodpeckerOptions
from sandbox.sandbox import REPOSITORY, Sandbox
from sandbox.woodpecker import Woodpecker
from tests.world import live
from webhook.config import load as config
from webhook.errors import ConfigErrors

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/how-to/add-a-tool.md").read_text()
OPERATORS = (ROOT / "docs/how-to/woodpecker.md").read_text()
HANDLER = (ROOT / "handlers/woodpecker.py").read_text()
SHOWN = [
    "handlers/__init__.py",
    "handlers/woodpecker.py",
    "sandbox/woodpecker.py",
    "tests/handlers/test_woodpecker.py",
    "tests/handlers/test_woodpecker_failures.py",
]
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.M | re.S)


def plain(text: str) -> str:
    """Ruff formats single methods on a page without indentation."""
    return "".join(f"{line.strip()}\n" for line in text.splitlines() if line.strip())


def title(block: str) -> str:
    return block.strip().splitlines()[0]


@pytest.mark.parametrize("block", BLOCKS, ids=title)
def test_what_the_page_shows_is_in_the_files(block: str) -> None:
    assert any(plain(block) in plain((ROOT / file).read_text()) for file in SHOWN)


def test_the_page_leaves_out_nothing_of_the_handler() -> None:
    _, _, code = HANDLER.partition("from handlers.preview import HttpPreview, Preview\n")
    assert code
    left = plain(code)
    for block in BLOCKS:
        left = left.replace(plain(block), "")
    assert left == ""


def lines_of_code(text: str) -> int:
    """Without comments, docstrings and blank lines."""
    texts = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Expr)]
    texts = [node for node in texts if isinstance(node.value, ast.Constant)]
    left_out = {line for node in texts for line in range(node.lineno, (node.end_lineno or 0) + 1)}
    lines = [line.strip() for line in text.splitlines()]
    code = [n for n, line in enumerate(lines, 1) if line and not line.startswith("#")]
    return len(set(code) - left_out)


def test_the_page_states_the_length_of_the_handler() -> None:
    _, _, code = HANDLER.partition("from handlers.preview import HttpPreview, Preview\n")
    [of_the_class] = re.findall(r"^class Woodpecker:\n(?:(?:    .*)?\n)+", code, re.M)
    stated = re.search(r"Its class has (\d+) lines\sof code, .*? have (\d+) more", PAGE, re.S)
    assert stated
    class_, around = int(stated[1]), int(stated[2])
    assert (lines_of_code(of_the_class), lines_of_code(code)) == (class_, class_ + around)
    assert class_ <= 60


def example() -> str:
    [found] = re.findall(r"^```yaml\n(envs:.*?)^```$", OPERATORS, re.M | re.S)
    return str(found)


def load(text: str) -> Any:
    environ = {"WOODPECKER_TOKEN": "a-token"}
    options = {"woodpecker": WoodpeckerOptions}
    [environment] = config.load(
        text, source="deploy.yml", environ=environ, handler_options=options
    ).envs
    return environment.options


def test_the_example_loads() -> None:
    options = load(example())
    assert options.url == "https://ci.example.com"
    assert options.parameters["DEPLOYMENT_ID"] == "{id}"
    assert "a-token" not in repr(options)


def test_an_error_is_reported_as_the_page_documents() -> None:
    wrong = re.sub(r" +token: .*\n", "", example()).replace("https://ci", "ci")
    wrong = wrong.replace("REGION", "event")
    with pytest.raises(ConfigErrors) as caught:
        load(wrong)
    [stated] = re.findall(r"^```\n(deploy\.yml:.*?)\n```$", PAGE, re.M | re.S)
    assert str(caught.value) == stated


def test_the_registry_has_it() -> None:
    assert HANDLERS["woodpecker"].Options is WoodpeckerOptions


async def test_a_deployment_on_github_is_deployed_by_woodpecker(
    store_url: str, tmp_path: Path
) -> None:
    sandbox = Sandbox()
    async with Woodpecker(takes=0.1) as tool:
        repo = tool.add_repo(REPOSITORY)
        repo.add(sandbox.installation.repositories[0].sha("main"))
        deploy_yml = example().replace("https://ci.example.com", tool.url)
        deploy_yml = deploy_yml.replace("acme/shop", REPOSITORY)
        environ = {"WOODPECKER_TOKEN": tool.token}
        async with live(store_url, tmp_path, deploy_yml, sandbox=sandbox, environ=environ) as world:
            deployment = await world.deployed(payload={"region": "eu"})
            states = world.github.states(deployment.id)
    assert states[0] == "queued"
    assert states[-1] == "success"
    [pipeline] = repo.deployments
    assert pipeline.variables["DEPLOYMENT_ID"] == str(deployment.id)
