"""The documents are correct: names, examples, links, commands."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import click
import pytest
from pydantic import BaseModel

from docs.settings_reference import files
from handlers import HANDLERS
from sandbox.event_receiver import make_secret
from tests.handlers.tools import Certificate, a_certificate
from webhook.__main__ import main
from webhook.cli.listing import ListingGroup
from webhook.config import load as config
from webhook.config.environments import Config, Environment
from webhook.gates import GATES
from webhook.gates.freeze import FileWindow
from webhook.notifiers import DESTINATIONS
from webhook.settings import VARIABLES
from webhook.slack.destination import Destination, destinations_of

ROOT = Path(__file__).parents[2]
SETTINGS = (ROOT / "docs/reference/settings.md").read_text()
PAGES = sorted(
    str(path.relative_to(ROOT)) for path in ROOT.glob("docs/**/*.md") if "_build" not in path.parts
)
DOCUMENTS = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", *PAGES)
NAMES = {variable.name for variable in VARIABLES}
# Heroku sets these itself.
OF_THE_PLATFORM = {"PORT", "DATABASE_URL"}

_ROW = re.compile(r"^\| `([A-Z][A-Z_]+)` \| (.+) \| (.+) \|$", re.M)
_BLOCK = re.compile(r"^( *)```([\w{}-]*)\n(.*?)^\1```$", re.M | re.S)
_PEM = re.compile(r"\b(ca|certificate|key): /etc/gitploy-relay/[\w.-]+\.(?:pem|key)$", re.M)
_LINK = re.compile(r"\]\(([^)#]*)(?:#([^)]*))?\)")
_SCRIPT = re.compile(r"(?<![\w/.-])(script/\w+|\.ci/\w+)")
_PATH = re.compile(
    r"`((?:webhook|handlers|sandbox|tests|benchmarks|docs)/[\w./-]*)`|(tests/[\w/]+\.py)"
)
_COMMAND = re.compile(r"python -m webhook ([a-z][^`|#\n]*)")
_OPTION = re.compile(r"`?script/(demo|server) (--[a-z-]+)")


def rows() -> dict[str, str]:
    """The table of variables: name -> default, as it is written there."""
    found = _ROW.findall(SETTINGS)
    assert len(found) == len({name for name, _, _ in found}), "a variable is there twice"
    return {name: default for name, _, default in found}


def app_json() -> dict[str, Any]:
    app: dict[str, Any] = json.loads((ROOT / "app.json").read_text())
    return app


def load(text: str, source: str, environ: dict[str, str]) -> Config:
    options = {name: handler.Options for name, handler in HANDLERS.items()}
    return config.load(
        text,
        source=source,
        environ=environ,
        handler_options=options,
        notifiers=DESTINATIONS,
        gates=tuple(GATES.values()),
    )


@pytest.mark.parametrize(("path", "text"), files(), ids=lambda value: getattr(value, "name", ""))
def test_what_is_generated_from_the_settings_is_up_to_date(path: Path, text: str) -> None:
    assert path.read_text() == text, f"{path} is out of date; run script/generate"


def test_the_table_of_settings_has_every_variable_and_no_other() -> None:
    assert set(rows()) == NAMES


@pytest.mark.parametrize("variable", VARIABLES, ids=lambda variable: variable.name)
def test_the_table_of_settings_has_the_default(variable: Any) -> None:
    written = rows()[variable.name]
    if variable.default is not None:
        assert written == f"`{variable.default}`"
    assert (written == "needed") == variable.required


def test_app_json_has_every_variable_and_no_other() -> None:
    assert set(app_json()["env"]) == NAMES - OF_THE_PLATFORM


def test_app_json_describes_each() -> None:
    env = app_json()["env"]
    assert [name for name, about in env.items() if not about.get("description")] == []


def test_what_is_required_cannot_be_left_out_in_app_json() -> None:
    env = app_json()["env"]
    needed = [variable.name for variable in VARIABLES if variable.required]
    assert [name for name in needed if env[name].get("required") is False] == []


@pytest.mark.parametrize("name", ["GITPLOY_WEBHOOK_SECRET", "GITPLOY_SECRET_KEY"])
def test_secrets_that_can_be_generated_are(name: str) -> None:
    assert app_json()["env"][name]["generator"] == "secret"


def test_no_secret_has_a_value_in_app_json() -> None:
    env = app_json()["env"]
    secret = [variable.name for variable in VARIABLES if variable.secret and variable.name in env]
    assert [name for name in secret if "value" in env[name]] == []


def test_heroku_adds_postgresql() -> None:
    plans = [addon if isinstance(addon, str) else addon["plan"] for addon in app_json()["addons"]]
    assert [plan.partition(":")[0] for plan in plans] == ["heroku-postgresql"]


def test_the_procfiles_commands_are_known() -> None:
    lines = (ROOT / "Procfile").read_text().splitlines()
    processes = dict(line.split(": ", 1) for line in lines if line)
    assert set(processes) == {"release", "web", "worker"}
    for command in processes.values():
        assert command.startswith("python -m webhook ")
        assert command.split()[3] in main.commands
    assert set(app_json()["formation"]) == {"web", "worker"}


def blocks(document: str) -> Iterator[tuple[str, str]]:
    """Language and text of each code block, also of those in lists."""
    for _, language, text in _BLOCK.findall((ROOT / document).read_text()):
        yield language, dedent(text)


def blocks_in(language: str) -> list[tuple[str, str]]:
    return [(page, text) for page in DOCUMENTS for name, text in blocks(page) if name == language]


def examples(document: str) -> list[str]:
    yaml_blocks = [text for language, text in blocks(document) if language == "yaml"]
    return [block for block in yaml_blocks if re.search(r"^envs:", block, re.M)]


EXAMPLES = [(document, example) for document in DOCUMENTS for example in examples(document)]


# Values that are checked when the file is loaded.
CHECKED = {
    "DISCORD_WEBHOOK": "https://discord.com/api/webhooks/1/a",
    "DISCORD_FAILURES": "https://discord.com/api/webhooks/2/b",
    "DISCORD_SHOP": "https://discord.com/api/webhooks/3/c",
    "EVENTS_URL": "https://events.acme.io/deployments",
    "EVENTS_SECRET": make_secret(),
}


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return a_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.mark.parametrize(("document", "example"), EXAMPLES)
def test_each_example_of_deploy_yml_loads(
    document: str, example: str, certificate: Certificate
) -> None:
    environ = {name: f"value of {name}" for name in re.findall(r"\b[A-Z][A-Z0-9_]+\b", example)}
    environ |= {name: value for name, value in CHECKED.items() if name in environ}
    # They are read when the file is loaded.
    files = {"ca": certificate.file, "certificate": certificate.file, "key": certificate.key}
    with_files = _PEM.sub(lambda found: f"{found[1]}: {files[found[1]]}", example)
    assert load(with_files, document, environ).envs


def test_the_example_of_two_workspaces_keeps_failures_from_the_customers() -> None:
    [example] = [one for one in examples("docs/how-to/slack-channels.md") if "#customers" in one]
    destinations = [
        one for env in load(example, "example", {}).envs for one in destinations_of(env)
    ]
    channels = {
        (one.workspace, name) for one in destinations for name in (one.channel, one.failures)
    }
    assert {name for team, name in channels if team == "T0456EFGH"} == {"#customers", None}
    assert ("T0123ABCD", "#oncall") in channels


def documented(model: type[BaseModel], document: str) -> list[str]:
    """The keys that are missing in the document's examples, or in its tables."""
    text = (ROOT / document).read_text()
    keys = [field.alias or name for name, field in model.model_fields.items()]
    shown = "\n".join([*examples(document), *fragments(document, {"with", *keys})])
    named = re.findall(r"`([\w.]+)`", "".join(re.findall(r"^\| (`.+?) \|", text, re.M)))
    names = {part for name in named for part in (name.removeprefix("slack."), name.split(".")[0])}
    return [key for key in keys if key not in names or not re.search(rf"\b{key}:", shown)]


def fragments(document: str, keys: set[str]) -> list[str]:
    """Examples that show some of these keys alone."""
    texts = [text for language, text in blocks(document) if language == "yaml"]
    found = [(set(re.findall(r"^(\w+):", text, re.M)), text) for text in texts]
    return [text for names, text in found if names and names <= keys]


@pytest.mark.parametrize(
    ("model", "page"),
    [
        (Environment, "docs/reference/deploy-yml.md"),
        (Destination, "docs/reference/deploy-yml.md"),
        (FileWindow, "docs/how-to/freezes.md"),
        (DESTINATIONS["discord"], "docs/how-to/discord.md"),
        (DESTINATIONS["webhook"], "docs/how-to/webhook-notifier.md"),
    ],
)
def test_every_key_of_deploy_yml_is_in_an_example_and_in_a_table(
    model: type[BaseModel], page: str
) -> None:
    assert documented(model, page) == []


@pytest.mark.parametrize("name", sorted(HANDLERS))
def test_every_key_of_a_handler_is_in_an_example_and_in_a_table_of_one_page(name: str) -> None:
    pages = {d for d, example in EXAMPLES if re.search(rf"handler: {name}\b", example)}
    assert [] in [documented(HANDLERS[name].Options, page) for page in sorted(pages)]


def test_the_sample_loads_without_any_variable() -> None:
    sample = (ROOT / "deploy.yml").read_text()
    [environment] = load(sample, "deploy.yml", {}).envs
    # Without a file of their own, users must not see a success of a deployment that never ran.
    assert environment.name == "relay-test"


def test_the_samples_comments_load_as_well() -> None:
    sample = (ROOT / "deploy.yml").read_text()
    lines = [
        re.sub(r"^( *)# (?=( *)(- name|[a-z_]+:( |$)))", r"\1", line)
        for line in sample.splitlines()
    ]
    environ = {"DEPLOY_KEY_FILE": "/key", "DRONE_TOKEN": "token"}
    loaded = load("\n".join(lines), "deploy.yml", environ)
    names = [environment.name for environment in loaded.envs]
    assert names == ["relay-test", "staging", "qa", "production"]
    assert loaded.unrouted == "ignore"
    assert "#oncall" in {one.failures for env in loaded.envs for one in destinations_of(env)}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document: str) -> None:
    text = (ROOT / document).read_text()
    for path, anchor in _LINK.findall(text):
        if "://" in path:
            continue
        target = (ROOT / document).parent / path if path else ROOT / document
        assert target.is_file(), path
        if anchor:
            assert anchor in anchors(target.read_text()), anchor


def anchors(text: str) -> set[str]:
    """As GitHub derives them from headings."""
    without_blocks = re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)
    headings = re.findall(r"^#+ (.+)$", without_blocks, re.M)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_scripts_and_paths_exist(document: str) -> None:
    text = (ROOT / document).read_text()
    paths = {*_SCRIPT.findall(text), *(a or b for a, b in _PATH.findall(text))}
    assert [path for path in sorted(paths) if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_commands_and_their_options_exist(document: str) -> None:
    text = (ROOT / document).read_text()
    used = _COMMAND.findall(text)
    used += [f"{'up' if name == 'server' else name} {flag}" for name, flag in _OPTION.findall(text)]
    for line in used:
        command, arguments = named(line)
        known = {flag for parameter in command.params for flag in parameter.opts}
        assert {argument for argument in arguments if argument.startswith("--")} <= known, line


def named(line: str) -> tuple[click.Command, list[str]]:
    """The command that a line begins with, and its arguments."""
    command: click.Command = main
    arguments = line.split()
    while isinstance(command, click.Group) and arguments and re.fullmatch("[a-z-]+", arguments[0]):
        if isinstance(command, ListingGroup) and arguments[0].startswith("--"):
            return command.commands["list"], arguments
        assert arguments[0] in command.commands, line
        command = command.commands[arguments.pop(0)]
    return command, arguments


def test_what_the_map_and_the_list_name_is_there() -> None:
    tree = (ROOT / "docs/architecture.md").read_text()
    modules = {path.parent.name for path in ROOT.glob("webhook/*/__init__.py")}
    assert [name for name in sorted(modules) if f"`webhook/{name}/`" not in tree] == []
    text = (ROOT / "CONTRIBUTING.md").read_text()
    listed = text.partition("## Why each file at the top is there")[2]
    names = re.findall(r"`([^`]+)`", "".join(re.findall(r"^\| (`.+?) \|", listed, re.M)))
    assert len(names) > 5
    assert [name for name in names if not (ROOT / name).exists()] == []
