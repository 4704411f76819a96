"""Writes reference/github-permissions.md from the table that `check` uses: `script/generate` runs
this."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from handlers import HANDLERS
from webhook.check.needs import NEEDS, Need, of_tool, written

PAGE = Path(__file__).parent / "reference" / "github-permissions.md"
_HEAD = """\
# Permissions and events on GitHub

<!-- Made by script/generate from webhook/check/needs.py; change it there. -->

What the GitHub App needs for what `deploy.yml` uses, and nothing else, so that a token that is
stolen can do no more. `python -m webhook github manifest` prints an App with exactly that and a
link that [creates it](../how-to/github-app.md); [`check`](../how-to/check.md) says what is missing
and what is superfluous. A permission that the App gets later works only once it is accepted where
the App is installed. *members* is a permission of the organization; the others are of repositories.
*write* includes *read*.
"""
_TABLE = "| for | permissions | events | without |\n|---|---|---|---|"
_LEVELS = {
    "error": "",
    "note": " (a note of `check`)",
    "optional": " (neither the manifest nor `check` asks for it)",
}
# Options of the handlers whose needs differ, with what to call them.
_TOOLS: dict[str, list[dict[str, Any]]] = {
    "github-actions": [{"mode": "watch"}, {"mode": "dispatch", "workflow": "deploy.yml"}]
}
_TAIL = """\
Without any subscription GitHub also sends `installation` and `installation_repositories`, by which
what could not be done before goes on at once.
"""


def page() -> str:
    return "\n".join([_HEAD, _TABLE, *map(_row, NEEDS), *_tools(), "", _TAIL])


def _tools() -> Iterator[str]:
    for name, handler in HANDLERS.items():
        for options in _TOOLS.get(name, []):
            needs = list(of_tool(handler.Options.model_validate(options)))
            feature = f"`handler: {name}`, `mode: {options['mode']}`"
            yield from (_row(one, feature) for one in needs)


def _row(need: Need, feature: str = "") -> str:
    permissions = ", ".join(f"`{one}`" for one in written(need.permissions))
    events = ", ".join(f"`{one}`" for one in need.events)
    without = f"{need.without}{_LEVELS[need.level]}"
    return f"| {feature or need.feature} | {permissions} | {events} | {without} |"


if __name__ == "__main__":
    PAGE.write_text(page())
