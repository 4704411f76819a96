"""Writes reference/settings.md and app.json from the fields: `script/generate` runs this.

Source: devcenter.heroku.com/articles/app-json-schema ("env").
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from webhook.settings import VARIABLES, Variable

ROOT = Path(__file__).parents[1]

_PAGE = """\
<!-- Made by script/generate from the fields in webhook/settings.py; change those. -->

# Settings

Settings are environment variables. Where Gitploy has a name for one, the name is the same here.

| name | meaning | default |
|---|---|---|
{rows}

An empty variable counts as not set. A misspelled name, such as `GITPLOY_SERVER_HOSTS`, produces a
warning. The values of variables whose names contain TOKEN, SECRET, PASSW, CREDENTIAL, API_KEY or
PRIVATE_KEY are hidden in logs and in the output of commands.

White space at both ends of a value is left out, so a line break at a file's end does no harm. These
are errors at the start, because the value would be another one than was meant:

- quotes around a value (of `docker run --env-file`, for example, where they count); a private key
  is taken with them
- `${{NAME}}` or `$(command)` that nothing has filled in
- a line break or an invisible character inside a value; white space inside a secret
- a secret of less than 16 characters in `GITPLOY_WEBHOOK_SECRET`, `GITPLOY_SECRET_KEY`,
  `GITPLOY_SLACK_CLIENT_SECRET` or `GITPLOY_SLACK_SIGNING_SECRET`. A comma separates secrets, so
  none can contain one.
- a private key, or its path, in a variable for something else

An error shows a value only where that cannot be a secret. The same holds for what `${{NAME}}` fills
in in `deploy.yml`; quotes and what was not filled in are errors there for the names above.
"""


def files() -> list[tuple[Path, str]]:
    """The files that are generated, with their contents."""
    page, app = ROOT / "docs" / "reference" / "settings.md", ROOT / "app.json"
    document = json.loads(app.read_text()) | {"env": dict(_app_json())}
    return [(page, _PAGE.format(rows=_rows())), (app, json.dumps(document, indent=2) + "\n")]


def _rows() -> str:
    return "\n".join(f"| `{one.name}` | {one.help} | {_default(one)} |" for one in VARIABLES)


def _default(variable: Variable) -> str:
    if variable.required:
        return "needed"
    return "none" if variable.default is None else f"`{variable.default}`"


def _app_json() -> Iterator[tuple[str, dict[str, Any]]]:
    for one in VARIABLES:
        if one.heroku is None:
            continue
        about: dict[str, Any] = {"description": f"{one.description}."}
        if "generator" not in one.heroku:
            about["required"] = one.required
        if one.default is not None:
            about["value"] = one.default
        yield one.name, {**about, **one.heroku}


if __name__ == "__main__":
    for path, text in files():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
