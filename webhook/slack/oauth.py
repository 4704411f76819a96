"""Slack's OAuth: the address of Slack's page, the exchange of a code, the refresh of tokens.

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
# For what is optional.
_SHORT_TIMEOUT = 3
DEFAULT_WAIT = 30

_RETRY_CODES = {"ratelimited", "rate_limited", "service_unavailable", "request_timeout"}
_UNCLEAR_CODES = {"internal_error", "fatal_error"}
_CODE = re.compile(r"[a-z][a-z0-9_]{0,63}")
# AttributeError: slack_sdk raises it for a 200 whose body is not JSON. The last two: a
# response whose fields are not Slack's.
_UNCLEAR_RESPONSE = (
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
    return Rejected(f"Slack returned {code}", code=code)


def site(slack: SlackSettings) -> str:
    """Slack's website: https://slack.com."""
    return slack.base_url.removesuffix("api/").rstrip("/")


def scopes(slack: SlackSettings) -> tuple[str, ...]:
    """The scopes to request."""
    return bot_scopes(slack.scopes, actions_enabled=slack.actions_enabled)


def authorize_url(slack: SlackSettings, redirect_uri: str, state: str) -> str:
    """Slack's page for the consent. slack_sdk's own generator does not encode redirect_uri."""
    query = {
        "client_id": slack.client_id or "",
        "scope": ",".join(scopes(slack)),
        "redirect_uri": redirect_uri,
        "state": state,
    }
    return f"{site(slack)}/oauth/v2/authorize?{urlencode(query)}"


def exchange(slack: SlackSettings, code: str, redirect_uri: str) -> Granted:
    """The tokens for a code; `redirect_uri` is the one that the person was sent with."""
    began = utc_now()
    try:
        response = _client(slack, TIMEOUT).oauth_v2_access(
            client_id=slack.client_id or "",
            client_secret=slack.client_secret or "",
            code=code,
            redirect_uri=redirect_uri,
        )
        return _granted(_document(response.data), began)
    except _UNCLEAR_RESPONSE as error:
        # None: the message of slack_sdk may hold parts of the response.
        raise _as_error(error, began) from None


def name_of_bot(slack: SlackSettings, token: str) -> str:
    """As people write it after @; empty if Slack does not return it."""
    try:
        response = _client(slack, _SHORT_TIMEOUT, token).auth_test()
        return str(_document(response.data).get("user") or "")
    except _UNCLEAR_RESPONSE:
        return ""


class SlackOAuth:
    """Refreshes tokens. `paused`: workspaces whose token is not refreshed until then."""

    def __init__(
        self, slack: SlackSettings, session: aiohttp.ClientSession, clock: Clock = utc_now
    ) -> None:
        self.clock = clock
        self.paused: dict[str, datetime] = {}
        self._slack = slack
        self._client = AsyncWebClient(
            base_url=slack.base_url,
            timeout=TIMEOUT,
            session=session,
            logger=_silent,
            retry_handlers=[],
        )
        # It would use HTTPS_PROXY for every address; our session heeds NO_PROXY too.
        self._client.proxy = None

    async def refresh(self, refresh_token: str) -> Tokens:
        """The old refresh token is invalid after that."""
        began = self.clock()
        try:
            response = await self._client.oauth_v2_access(
                client_id=self._slack.client_id or "",
                client_secret=self._slack.client_secret or "",
                grant_type="refresh_token",
                refresh_token=refresh_token,
            )
            return _tokens(_document(response.data), began)
        except _UNCLEAR_RESPONSE as error:
            raise _as_error(error, self.clock()) from None


def _client(slack: SlackSettings, timeout: int, token: str | None = None) -> WebClient:
    client = WebClient(
        token=token, base_url=slack.base_url, timeout=timeout, logger=_silent, retry_handlers=[]
    )
    client.proxy = None
    return client


def _document(data: object) -> Mapping[str, Any]:
    if not isinstance(data, dict):
        raise TypeError("the response is no object")
    return data


def _tokens(response: Mapping[str, Any], began: datetime) -> Tokens:
    if not response.get("access_token"):
        raise ValueError("there is no token in the response")
    seconds = response.get("expires_in")
    return Tokens(
        token=str(response["access_token"]),
        refresh_token=response.get("refresh_token") or None,
        expires_at=began + timedelta(seconds=int(seconds)) if seconds else None,
    )


def _granted(response: Mapping[str, Any], began: datetime) -> Granted:
    team = response.get("team") or {}
    whole_enterprise = bool(response.get("is_enterprise_install")) or not team.get("id")
    bot = response.get("token_type", "bot") == "bot" and response.get("access_token")
    tokens = _tokens(response, began) if bot else None
    return Granted(
        token=tokens.token if tokens else "",
        refresh_token=tokens.refresh_token if tokens else None,
        expires_at=tokens.expires_at if tokens else None,
        team="" if whole_enterprise else str(team["id"]),
        team_name=str(team.get("name") or team.get("id") or ""),
        app_id=str(response.get("app_id") or ""),
        bot_user=str(response.get("bot_user_id") or ""),
        scopes=str(response.get("scope") or ""),
        by=str((response.get("authed_user") or {}).get("id") or ""),
    )


def _as_error(error: Exception, now: datetime) -> RetryAt | UnknownOutcome | Rejected:
    if not isinstance(error, SlackApiError):
        return UnknownOutcome(f"Slack gave no clear response ({type(error).__name__})")
    response = error.response
    status = getattr(response, "status_code", 200)
    document = response.data if isinstance(getattr(response, "data", None), dict) else {}
    code = str(document.get("error", ""))
    if status == 429 or code in _RETRY_CODES:
        wait = response.headers.get("Retry-After", "")
        seconds = int(wait) if wait.isdigit() else DEFAULT_WAIT
        return RetryAt.in_seconds("Slack limits the calls", seconds, now)
    if status >= 500 or code in _UNCLEAR_CODES or not _CODE.fullmatch(code):
        return UnknownOutcome(f"Slack gave no clear response (HTTP {status})")
    return rejected(code)
