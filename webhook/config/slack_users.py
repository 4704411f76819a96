"""deploy.yml's `slack_users:`: the GitHub logins of Slack users, which decide what they may do.

Source: the forms of Slack's ids.
"""

import re
from collections.abc import Iterator
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator

from webhook.config.destinations import OneOrSeveral, as_tuple
from webhook.config.errors import invalid
from webhook.config.source import ConfigError, Path, Source

_USER = re.compile(r"(?:[TE][A-Z0-9]{2,}/)?[UW][A-Z0-9]{2,}")
# Of accounts that a company manages, too (octo_acme), and of Apps.
_LOGIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}(?:\[bot\])?")


def _user(value: str) -> str:
    if not _USER.fullmatch(value):
        text = "is not a Slack user's ID: open the profile in Slack, More, Copy member ID"
        raise invalid(f"{text}; with several workspaces, write T0123ABCD/U0123ABCD")
    return value


_Users = Annotated[
    tuple[Annotated[str, AfterValidator(_user)], ...], BeforeValidator(as_tuple), OneOrSeveral
]
SlackUsers = dict[str, _Users]


def slack_user_errors(source: Source) -> Iterator[ConfigError]:
    """Errors of one entry, or of several together, that the model does not find."""
    users = source.value.get("slack_users") if isinstance(source.value, dict) else None
    seen: dict[str, list[tuple[str, str]]] = {}
    logins: set[str] = set()
    for login, ids in users.items() if isinstance(users, dict) else ():
        path: Path = ("slack_users", login)
        text = ""
        if not _LOGIN.fullmatch(login):
            text = "is not a GitHub login; write it without @, as in octocat"
        elif login.lower() in logins:
            text = "is there twice: upper and lower case are alike; remove one"
        logins.add(login.lower())
        for one in ids if isinstance(ids, list) else [ids]:
            team, _, user = one.rpartition("/") if isinstance(one, str) else ("", "", "")
            known = seen.setdefault(user, [])
            other = next((who for where, who in known if not (team and where) or where == team), "")
            if user and other and other.lower() != login.lower():
                text = text or f"has '{one}', which is {other}'s already; nobody is two people"
            known.append((team, login))
        if text:
            yield ConfigError(*source.keys[path], path, text)
