"""The pages as a whole: each is reachable, each code block checked, the vocabulary the field's."""

import ast
import configparser
import json
import re
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
import yaml

from docs.command_line import PAGE as COMMAND_LINE
from docs.command_line import page as command_line
from docs.github_permissions import PAGE as PERMISSIONS
from docs.github_permissions import page as permissions
from tests.docs.test_docs import DOCUMENTS, PAGES, ROOT, blocks, blocks_in
from tests.web import test_rights as rights

# What other tests run, or compare with the code: test_adding_a_tool, test_recipes, test_tools.
CHECKED_ELSEWHERE = {"js", "console", ""}
OF_SPHINX = {"{toctree}", "mermaid"}
# Compared with the files, line by line; pieces of a class do not stand alone.
FRAGMENTS = "docs/how-to/add-a-tool.md"
# Terms to avoid, outside code; CONTRIBUTING.md lists the project's own.
AVOIDED = re.compile(r"\b(told|trouble|in words|sealed?|lanes?|misspelt|makes? anew)\b", re.I)

_LINK = re.compile(r"\]\(([^)#:]+\.md)(?:#[^)]*)?\)")
_CODE = re.compile(r"^( *)```.*?^\1```$|`[^`\n]+`", re.M | re.S)


def reached(start: str, links: Callable[[str], Iterable[str]]) -> set[str]:
    """All documents that are reachable by links."""
    found, left = {start}, [start]
    while left:
        here = left.pop()
        targets = [(ROOT / here).parent / link for link in links(here)]
        new = {str(target.resolve().relative_to(ROOT)) for target in targets} - found
        found |= new
        left += new
    return found


def toctree(document: str) -> list[str]:
    trees = [text for language, text in blocks(document) if language == "{toctree}"]
    lines = [line for tree in trees for line in tree.splitlines()]
    return [f"{line}.md" for line in lines if line and not line.startswith(":")]


def test_every_page_is_reached_from_the_index() -> None:
    assert reached("docs/index.md", toctree) == set(PAGES)


def test_every_page_is_reached_from_the_readme_by_links() -> None:
    found = reached("README.md", lambda page: _LINK.findall((ROOT / page).read_text()))
    assert set(PAGES) - found == set()


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_code_block_is_of_a_language_that_is_checked(document: str) -> None:
    checked = {"yaml", "json", "python", "sh", "ini", "nginx", *CHECKED_ELSEWHERE, *OF_SPHINX}
    assert {language for language, _ in blocks(document)} <= checked


@pytest.mark.parametrize(("document", "text"), blocks_in("yaml"))
def test_yaml_can_be_read(document: str, text: str) -> None:
    assert list(yaml.safe_load_all(text)), document


@pytest.mark.parametrize(("document", "text"), blocks_in("json"))
def test_json_can_be_read(document: str, text: str) -> None:
    assert json.loads(text if text.startswith("{") else f"{{{text}}}"), document


@pytest.mark.parametrize(("document", "text"), blocks_in("python"))
def test_python_can_be_read(document: str, text: str) -> None:
    if document != FRAGMENTS:
        ast.parse(text)


@pytest.mark.parametrize(("document", "text"), blocks_in("sh"))
def test_shell_can_be_read(document: str, text: str) -> None:
    read = subprocess.run(["sh", "-n"], input=text, text=True, capture_output=True, check=False)
    assert (read.returncode, read.stderr) == (0, ""), document


@pytest.mark.parametrize(("document", "text"), blocks_in("ini"))
def test_units_can_be_read(document: str, text: str) -> None:
    unit = configparser.ConfigParser()
    unit.read_string(text)
    assert unit.sections(), document


@pytest.mark.parametrize(("document", "text"), blocks_in("nginx"))
def test_nginx_blocks_are_closed(document: str, text: str) -> None:
    assert text.count("{") == text.count("}") > 0, document


def test_the_page_of_endpoints_has_every_address_of_the_pages() -> None:
    """test_rights compares its tables with the relay's addresses."""
    names = {"<owner>/<name>": "OWNER/REPO", "<path:environment>": "ENVIRONMENT", "<guid>": "GUID"}
    names |= {"<kind>": "KIND", "<int:deployment_id>": "ID", "<int:request_id>": "ID"}
    named = re.compile("|".join(map(re.escape, names)))
    text = (ROOT / "docs/reference/http-endpoints.md").read_text()
    documented = set(re.findall(r"`(GET|POST) (/[^?`]*)[^`]*`", text))
    for method, addresses in (("GET", rights.PAGES), ("POST", rights.SENT)):
        for address in addresses:
            shown = named.sub(lambda found: names[found[0]], address)
            assert (method, shown) in documented
    assert {("GET", "/signin"), ("POST", "/signout")} <= documented


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 180


def test_the_glossary_is_short_and_sorted() -> None:
    terms = re.findall(r"^\| ([a-z ]+) \|", (ROOT / "docs/reference/glossary.md").read_text(), re.M)
    terms.remove("term")
    assert len(terms) <= 25
    assert terms == sorted(set(terms))


def test_the_page_of_the_command_line_is_up_to_date() -> None:
    assert COMMAND_LINE.read_text() == command_line(), "run script/generate"


def test_the_page_of_permissions_is_up_to_date() -> None:
    assert PERMISSIONS.read_text() == permissions(), "run script/generate"


def test_pictures_are_small() -> None:
    pictures = [path for path in (ROOT / "docs/images").iterdir() if path.stat().st_size > 150_000]
    assert pictures == []


@pytest.mark.parametrize("document", [page for page in DOCUMENTS if page != "CHANGELOG.md"])
def test_the_vocabulary_is_the_fields(document: str) -> None:
    prose = _CODE.sub("", (ROOT / document).read_text())
    assert [found[0] for found in AVOIDED.finditer(prose)] == []


def test_paths_of_pages_in_the_code_are_there() -> None:
    """Error messages, docstrings and samples that send the reader to a page."""
    sources = [path for room in ("webhook", "handlers", "sandbox") for path in sources_of(room)]
    sources += [ROOT / name for name in ("app.json", "deploy.yml", "pyproject.toml")]
    named = {page for path in sources for page in _PAGES.findall(path.read_text())}
    assert named
    assert [page for page in sorted(named) if not (ROOT / page).is_file()] == []


def sources_of(room: str) -> list[Path]:
    kinds = {".py", ".html"}
    return [path for path in (ROOT / room).rglob("*") if path.suffix in kinds]


_PAGES = re.compile(r"(?<![\w/-])docs/[\w/-]+\.(?:md|yml|json)\b")
