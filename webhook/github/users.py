"""People on GitHub: by the public e-mail address of their profile, by the number of their account.

Source: docs.github.com/rest/users/users, docs.github.com/rest/search/search#search-users. GitHub
shows verified addresses only. The search has a limit of its own (30/min).
Errors: those of `GitHub`. Any token of the App will do.
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
# Narrower than the standard: without characters that mean something in the search.
_EMAIL = re.compile(r"[A-Za-z0-9][A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]*@[A-Za-z0-9.-]+")
LONGEST_EMAIL = 254
# The search finds parts of addresses too; more hits than that are no match.
MOST_HITS = 5


def is_login(text: str) -> bool:
    return _LOGIN.fullmatch(text) is not None


async def exists(github: GitHub, scope: Scope, login: str) -> bool:
    """Whether an account has this login now; an earlier one of a renamed account leads nowhere."""
    if not is_login(login):
        return False
    try:
        return await github.request(
            scope.only(metadata="read"), "GET", f"/users/{login}", lambda profile: "id" in profile
        )
    except Rejected as error:
        if error.status == HTTPStatus.NOT_FOUND:
            return False
        raise


async def email_of(github: GitHub, scope: Scope, login: str) -> str:
    """The address on the profile, or an empty text."""
    if not is_login(login):
        return ""

    def read(profile: Any) -> str:
        return profile.get("email") or "" if profile["type"] == "User" else ""

    try:
        return await github.request(scope.only(metadata="read"), "GET", f"/users/{login}", read)
    except Rejected as error:
        if error.status == HTTPStatus.NOT_FOUND:
            return ""
        raise


async def login_by_id(github: GitHub, scope: Scope, account_id: int) -> str:
    """The login that this account has now; empty where there is none."""

    def read(profile: Any) -> str:
        if int(profile["id"]) != account_id or not is_login(profile["login"]):
            raise ValueError("another account")
        return str(profile["login"])

    anywhere = Scope(scope.installation_id, "", 0).only(metadata="read")
    try:
        return await github.request(anywhere, "GET", f"/user/{account_id}", read)
    except Rejected as error:
        if error.status == HTTPStatus.NOT_FOUND:
            return ""
        raise


async def login_of(github: GitHub, scope: Scope, email: str) -> str:
    """The person with this address on the profile; empty if there is none, or several."""
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

    def read(response: Any) -> list[str]:
        if response["total_count"] > MOST_HITS or response.get("incomplete_results"):
            return []
        return [str(item["login"]) for item in response["items"]]

    try:
        return await github.request(
            scope.only(metadata="read"), "GET", f"/search/users?{query}", read
        )
    except Rejected as error:
        if error.code == INVALID:  # not a query that GitHub accepts
            return []
        raise
