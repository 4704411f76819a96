"""People on GitHub, and the e-mail address that they show to everybody.

Source: docs.github.com/rest/users/users, docs.github.com/rest/search/search#search-users. GitHub
lets nobody show an address that is not verified. The search has a limit of its own (30/min).
Errors: those of `GitHub`. Any token of the App is good for it.
"""

import re
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from webhook.errors import INVALID, Rejected
from webhook.github.client import GitHub
from webhook.github.tokens import Scope

# Managed users have an underscore in it, Apps end in [bot].
_LOGIN = re.compile(r"[A-Za-z0-9_-]{1,100}(?:\[bot\])?")
# Narrower than the standard: nothing in it that the search would take for its own.
_EMAIL = re.compile(r"[A-Za-z0-9][A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]*@[A-Za-z0-9.-]+")
LONGEST_EMAIL = 254
# The search finds parts of words too; with more hits than that it found nobody in particular.
MOST_HITS = 5


def is_login(text: str) -> bool:
    return _LOGIN.fullmatch(text) is not None


async def email_of(github: GitHub, scope: Scope, login: str) -> str:
    """What `login` shows on the profile, or nothing."""
    if not is_login(login):
        return ""

    def read(profile: Any) -> str:
        return profile["email"] or "" if profile["type"] == "User" else ""

    try:
        return await github.ask(scope.only(metadata="read"), "GET", f"/users/{login}", read)
    except Rejected as refused:
        if refused.status == HTTPStatus.NOT_FOUND:
            return ""
        raise


async def login_of(github: GitHub, scope: Scope, email: str) -> str:
    """The one person whose profile shows this address; nothing where there is none, or several."""
    if len(email) > LONGEST_EMAIL or not _EMAIL.fullmatch(email):
        return ""
    found = [
        login
        for login in await _hits(github, scope, email)
        if (await email_of(github, scope, login)).casefold() == email.casefold()
    ]
    return found[0] if len(found) == 1 else ""


async def _hits(github: GitHub, scope: Scope, email: str) -> list[str]:
    query = urlencode({"q": f"{email} in:email type:user", "per_page": MOST_HITS})

    def read(answer: Any) -> list[str]:
        if answer["total_count"] > MOST_HITS or answer["incomplete_results"]:
            return []
        return [str(item["login"]) for item in answer["items"]]

    try:
        return await github.ask(scope.only(metadata="read"), "GET", f"/search/users?{query}", read)
    except Rejected as error:
        if error.code == INVALID:  # no query that GitHub accepts
            return []
        raise
