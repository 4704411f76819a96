"""Slack's OAuth: where a person is sent, what a code is good for, and newer tokens for old ones.

Source: docs.slack.dev/authentication/installing-with-oauth, …/using-token-rotation and
reference/methods/oauth.v2.access. Units: seconds. Errors: `RetryAt`, `UnknownOutcome`, and
`Rejected` with Slack's own code.
"""

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http.client import HTTPException
from typing import Any
from urllib.parse import urlencode

import aiohttp
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.web import WebClient
from slack_sdk.web.async_client import AsyncWebClient

from webhook.errors import Rejected, RetryAt, UnknownOutcome
from webhook.settings import SlackSettings
from webhook.slack.manifest import bot_scopes
from webhook.timing import Clock, utc_now

TIMEOUT = 10
# For what is only nice to know.
_SHORT_TIMEOUT = 3
WAIT_WITHOUT_A_CODE = 30

_LATER = {"ratelimited", "rate_limited", "service_unavailable", "request_timeout"}
_UNSURE = {"internal_error", "fatal_error"}
_CODE = re.compile(r"[a-z][a-z0-9_]{0,63}")
# AttributeError: slack_sdk stumbles over a 200 whose body is not JSON. The last two: an answer with
# other things in it than Slack's.
_NO_CLEAR_ANSWER = (
    SlackClientError,
    aiohttp.ClientError,
    HTTPException,
    OSError,
    ValueError,
    AttributeError,
    TypeError,
    OverflowError,
)
# slack_sdk would log bodies, and with them codes and tokens, where it logs for debugging.
_silent = logging.getLogger(f"{__name__}.calls")
_silent.setLevel(logging.CRITICAL + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """`expires_at` None: never, and there is no refresh token."""

    token: str = field(repr=False)
    refresh_token: str | None = field(repr=False)
    expires_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Granted(Tokens):
    """What a person let the app do. `team` is empty where it was installed for a whole enterprise;
    `token` is empty where the app has no bot."""

    team: str
    team_name: str
    app_id: str
    bot_user: str
    scopes: str
    by: str


def rejected(code: str) -> Rejected:
    """`code` is Slack's, unless it is not one that Slack could have sent."""
    code = code if _CODE.fullmatch(code) else "an error without a name"
    return Rejected(f"Slack says {code}", code=code)


def site(slack: SlackSettings) -> str:
    """Slack's website: https://slack.com."""
    return slack.base_url.removesuffix("api/").rstrip("/")


def scopes(slack: SlackSettings) -> tuple[str, ...]:
    """What the app asks for."""
    return bot_scopes(slack.scopes, actions_enabled=slack.actions_enabled)


def authorize_url(slack: SlackSettings, redirect_uri: str, state: str) -> str:
    """Where a person is asked. slack_sdk's AuthorizeUrlGenerator does not encode redirect_uri."""
    asked = {
        "client_id": slack.client_id or "",
        "scope": ",".join(scopes(slack)),
        "redirect_uri": redirect_uri,
        "state": state,
    }
    return f"{site(slack)}/oauth/v2/authorize?{urlencode(asked)}"


def exchange(slack: SlackSettings, code: str, redirect_uri: str) -> Granted:
    """The tokens for a code; `redirect_uri` is the one that the person was sent with."""
    began = utc_now()
    try:
        answer = _client(slack, TIMEOUT).oauth_v2_access(
            client_id=slack.client_id or "",
            client_secret=slack.client_secret or "",
            code=code,
            redirect_uri=redirect_uri,
        )
        return _granted(_document(answer.data), began)
    except _NO_CLEAR_ANSWER as error:
        # None: what slack_sdk says of an answer may hold parts of it.
        raise _understood(error, began) from None


def name_of_bot(slack: SlackSettings, token: str) -> str:
    """As people write it after @; empty where Slack does not say."""
    try:
        answer = _client(slack, _SHORT_TIMEOUT, token).auth_test()
        return str(_document(answer.data).get("user") or "")
    except _NO_CLEAR_ANSWER:
        return ""


class SlackOAuth:
    """Refreshes tokens. `resting`: workspaces whose token is not to be refreshed until then."""

    def __init__(
        self, slack: SlackSettings, session: aiohttp.ClientSession, clock: Clock = utc_now
    ) -> None:
        self.clock = clock
        self.resting: dict[str, datetime] = {}
        self._slack = slack
        self._client = AsyncWebClient(
            base_url=slack.base_url,
            timeout=TIMEOUT,
            session=session,
            logger=_silent,
            retry_handlers=[],
        )
        # It would take HTTPS_PROXY for every address; our session heeds NO_PROXY too.
        self._client.proxy = None

    async def refresh(self, refresh_token: str) -> Tokens:
        """The old refresh token is good for nothing after that."""
        began = self.clock()
        try:
            answer = await self._client.oauth_v2_access(
                client_id=self._slack.client_id or "",
                client_secret=self._slack.client_secret or "",
                grant_type="refresh_token",
                refresh_token=refresh_token,
            )
            return _tokens(_document(answer.data), began)
        except _NO_CLEAR_ANSWER as error:
            raise _understood(error, self.clock()) from None


def _client(slack: SlackSettings, timeout: int, token: str | None = None) -> WebClient:
    client = WebClient(
        token=token, base_url=slack.base_url, timeout=timeout, logger=_silent, retry_handlers=[]
    )
    client.proxy = None
    return client


def _document(data: object) -> Mapping[str, Any]:
    if not isinstance(data, dict):
        raise TypeError("the answer is no object")
    return data


def _tokens(answer: Mapping[str, Any], began: datetime) -> Tokens:
    if not answer.get("access_token"):
        raise ValueError("there is no token in the answer")
    seconds = answer.get("expires_in")
    return Tokens(
        token=str(answer["access_token"]),
        refresh_token=answer.get("refresh_token") or None,
        expires_at=began + timedelta(seconds=int(seconds)) if seconds else None,
    )


def _granted(answer: Mapping[str, Any], began: datetime) -> Granted:
    team = answer.get("team") or {}
    whole_enterprise = bool(answer.get("is_enterprise_install")) or not team.get("id")
    bot = answer.get("token_type", "bot") == "bot" and answer.get("access_token")
    tokens = _tokens(answer, began) if bot else None
    return Granted(
        token=tokens.token if tokens else "",
        refresh_token=tokens.refresh_token if tokens else None,
        expires_at=tokens.expires_at if tokens else None,
        team="" if whole_enterprise else str(team["id"]),
        team_name=str(team.get("name") or team.get("id") or ""),
        app_id=str(answer.get("app_id") or ""),
        bot_user=str(answer.get("bot_user_id") or ""),
        scopes=str(answer.get("scope") or ""),
        by=str((answer.get("authed_user") or {}).get("id") or ""),
    )


def _understood(error: Exception, now: datetime) -> RetryAt | UnknownOutcome | Rejected:
    if not isinstance(error, SlackApiError):
        return UnknownOutcome(f"Slack gave no clear answer ({type(error).__name__})")
    response = error.response
    status = getattr(response, "status_code", 200)
    document = response.data if isinstance(getattr(response, "data", None), dict) else {}
    code = str(document.get("error", ""))
    if status == 429 or code in _LATER:
        wait = response.headers.get("Retry-After", "")
        seconds = int(wait) if wait.isdigit() else WAIT_WITHOUT_A_CODE
        return RetryAt.in_seconds("Slack limits the calls", seconds, now)
    if status >= 500 or code in _UNSURE or not _CODE.fullmatch(code):
        return UnknownOutcome(f"Slack gave no clear answer (HTTP {status})")
    return rejected(code)
