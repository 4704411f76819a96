"""Installing the app in a Slack workspace: a one-time link, Slack's own page, and back.

Source: docs.slack.dev/authentication/installing-with-oauth, …/reference/scopes and
…/reference/methods/oauth.v2.access ("Errors"); RFC 6749, 4.1.2.1, for what Slack's own page sends
people back with; w3.org/TR/CSP3, "form-action". Units: seconds.
Errors: pages that say why the app was not installed, and what to do: 400 and 403 an invalid link,
response or code, 404 no Slack app is set, 502 Slack does not respond or does not know us, 503 the
store does not respond.
"""

import hmac
import re
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address
from typing import NoReturn
from urllib.parse import urlsplit

import structlog
from flask import Blueprint, Response, make_response, redirect, render_template, request
from werkzeug.wrappers import Response as Redirect

from webhook.config.environments import Config, CurrentConfig
from webhook.errors import BadCredentials, HttpError, Rejected, RetryAt, UnknownOutcome
from webhook.http import PAGE_HEADERS, PAGE_POLICY, BodyRule, ErrorHandling, as_page
from webhook.invocation import COMMAND
from webhook.security.cipher import Cipher
from webhook.settings import SlackSettings
from webhook.slack import oauth
from webhook.slack.destination import destinations_of
from webhook.slack.manifest import SIGNIN_PATH, with_purposes
from webhook.slack.oauth import Granted
from webhook.store import oauth_states, slack_installations
from webhook.store.database import Sync, SyncPool
from webhook.store.slack_installations import NewInstallation

# Seconds.
RETRY_AFTER = 60
AGAIN = f"ask for a new link with {COMMAND} slack install-link"
_FROM_THE_START = AGAIN.capitalize()
_OPERATOR = "Whoever runs the relay"

NOT_CONFIGURED = partial(
    HttpError,
    404,
    "This relay cannot be installed in Slack yet",
    detail="It knows no Slack app: GITPLOY_SLACK_CLIENT_ID and GITPLOY_SLACK_CLIENT_SECRET are not"
    " set.",
    remedy=f"{_OPERATOR} copies both from the Slack app's Basic Information, sets them and restarts"
    f" the relay. If there is no app yet, create it with {COMMAND} slack manifest.",
)
INVALID_LINK = partial(
    BadCredentials,
    403,
    "This link cannot be used to install the app",
    detail="It is incomplete, was used already, or is older than an hour. A link works once.",
    remedy=f"{_FROM_THE_START}. If a page said that the app is installed, you are done.",
)
INVALID_STATE = partial(
    BadCredentials,
    403,
    "This is not a response to an installation that was started here",
    detail="It was used already, came more than ten minutes after the button was pressed, or came"
    " in another browser.",
    remedy=f"{_FROM_THE_START}, and stay in one browser. If a page said that the app is installed,"
    " you are done.",
)
NO_CODE = partial(
    HttpError,
    400,
    "Slack sent no code",
    detail="The address that Slack redirected to is incomplete.",
    remedy=f"{_FROM_THE_START}.",
)
WHOLE_ENTERPRISE = partial(
    HttpError,
    400,
    "The relay cannot be installed in a whole organization",
    detail="It posts in single workspaces, so it did not store the permission.",
    remedy=f"Remove the app from the organization in Slack, then {AGAIN}. On Slack's page choose a"
    " workspace instead of the organization.",
)
NO_BOT = partial(
    HttpError,
    400,
    "Slack gave no permission to post",
    detail="It was installed without the bot's scope chat:write, without which nothing can be"
    " posted.",
    remedy=f"{_OPERATOR} adds chat:write under OAuth & Permissions > Bot Token Scopes at"
    f" api.slack.com/apps. Then {AGAIN}.",
)
STORE_UNAVAILABLE = partial(
    HttpError,
    503,
    "The relay cannot install it now",
    detail="Its store does not respond, so nothing was installed.",
    remedy=f"In a minute or two {AGAIN}. Whoever runs the relay finds the cause under /readyz.",
    retry_after=RETRY_AFTER,
)
RATE_LIMITED = partial(
    HttpError,
    503,
    "Slack asks the relay to try later",
    detail="It gets too many requests now, so nothing was installed.",
    remedy=f"In a minute or two {AGAIN}.",
    retry_after=RETRY_AFTER,
)
NO_RESPONSE = partial(
    HttpError,
    502,
    "Slack did not respond",
    detail="It is down, or the relay cannot reach it, so nothing was installed.",
    remedy=f"Check slack-status.com. When Slack is up, {AGAIN}. Installing twice does no harm.",
)


def from_slack(code: str, redirect_uri: str, client_id: str) -> HttpError:
    """What Slack's error code means here."""
    if code == "access_denied":
        return HttpError(
            403,
            "It was not installed",
            detail="Somebody pressed Cancel on Slack's page, or the workspace does not let this"
            " person install apps.",
            remedy=f"If it is to be installed after all, {AGAIN}. Where Slack asks for an approval,"
            " an admin of the workspace gives it first.",
        )
    if code in ("invalid_code", "code_already_used", "code_expired"):
        return HttpError(
            400,
            "The code that Slack sent is no longer valid",
            detail=f"It works once, within ten minutes (Slack returned {code}).",
            remedy=f"{_FROM_THE_START}.",
        )
    if code in ("bad_redirect_uri", "invalid_redirect_uri"):
        return HttpError(
            400,
            "Slack does not know where this relay is",
            detail=f"The Slack app has no redirect URL {redirect_uri} (Slack returned {code}).",
            remedy=f"{_OPERATOR} adds exactly {redirect_uri} at api.slack.com/apps, OAuth &"
            " Permissions > Redirect URLs. Slack takes https:// only. If it is the address that is"
            f" wrong: it is made of GITPLOY_SERVER_PROTO and GITPLOY_SERVER_HOST. Then {AGAIN}.",
        )
    return _wrong_setting(code, client_id) or HttpError(
        502,
        "Slack rejected the installation",
        detail=f"Slack returned {code}.",
        remedy="docs.slack.dev/reference/methods/oauth.v2.access says what it means. Then"
        f" {AGAIN}.",
    )


def _wrong_setting(code: str, client_id: str) -> HttpError | None:
    if code == "bad_client_secret":
        return HttpError(
            502,
            "Slack does not take this relay for the Slack app",
            detail=f"GITPLOY_SLACK_CLIENT_SECRET is not the client secret of the app {client_id}"
            f" (Slack returned {code}).",
            remedy=f"{_OPERATOR} copies the client secret from the app's Basic Information > App"
            f" Credentials, sets it and restarts the relay. Then {AGAIN}.",
        )
    if code in ("invalid_client_id", "bad_client_id"):
        return HttpError(
            502,
            "Slack does not know the Slack app",
            detail=f"GITPLOY_SLACK_CLIENT_ID is {client_id}, which is no app's client ID (Slack"
            f" says {code}).",
            remedy=f"{_OPERATOR} copies the client ID from the app's Basic Information > App"
            f" Credentials, sets it and restarts the relay. Then {AGAIN}.",
        )
    if code in ("invalid_scope", "invalid_scope_requested"):
        return HttpError(
            502,
            "Slack does not give what the relay asks for",
            detail="GITPLOY_SLACK_BOT_SCOPES names a scope that Slack or the app does not have"
            f" (Slack returned {code}).",
            remedy=f"{_OPERATOR} adds it under OAuth & Permissions > Bot Token Scopes, or takes it"
            f" out of the variable and restarts the relay. Then {AGAIN}.",
        )
    if code == "invalid_team_for_non_distributed_app":
        return HttpError(
            400,
            "The Slack app belongs to another workspace",
            detail="As long as it is not distributed, Slack lets it be installed only where it was"
            " made.",
            remedy=f"{_OPERATOR} activates Manage Distribution > Public Distribution at"
            f" api.slack.com/apps. Then {AGAIN}.",
        )
    return None


log = structlog.get_logger()

OnInstall = Callable[[Sync, str], None]

INSTALL_PATH = "/slack/install"
LINK_SECONDS = 3600
# As long as Slack's code is valid.
STATE_SECONDS = 600
_LARGEST_FORM = 4096
BODY_RULE = BodyRule(re.compile(INSTALL_PATH), _LARGEST_FORM)


@dataclass(frozen=True, slots=True)
class Install:
    """`on_install` runs in the transaction that stores the tokens."""

    pool: SyncPool
    settings: SlackSettings
    server_url: str
    current: CurrentConfig
    cipher: Cipher
    on_install: OnInstall

    def slack(self) -> SlackSettings:
        if not self.settings.client_id:
            raise NOT_CONFIGURED()
        return self.settings

    @property
    def redirect_uri(self) -> str:
        return f"{self.server_url}{SIGNIN_PATH}"

    @property
    def _https(self) -> bool:
        return urlsplit(self.server_url).scheme == "https"

    def page(self) -> Response:
        """The link stays valid: previews and prefetches come here too."""
        slack, key = self.slack(), request.args.get("key", "")
        with self.pool.connection() as connection:
            if not oauth_states.is_valid(connection, "link", key):
                raise INVALID_LINK()
        html = render_template(
            "slack_install.html", key=key, scopes=with_purposes(oauth.scopes(slack))
        )
        page = make_response(html)
        page.headers["Content-Security-Policy"] = _policy(form_action(oauth.site(slack)))
        return page

    def begin(self) -> Redirect:
        slack = self.slack()
        request.max_content_length = _LARGEST_FORM
        state, browser = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        with self.pool.connection() as connection, connection.transaction():
            if not oauth_states.consume(connection, "link", request.form.get("key", "")):
                raise INVALID_LINK()
            oauth_states.add(connection, "state", state, browser, STATE_SECONDS)
        to_slack = redirect(oauth.authorize_url(slack, self.redirect_uri, state), 303)
        to_slack.set_cookie(
            _cookie_of(state),
            browser,
            max_age=STATE_SECONDS,
            path=SIGNIN_PATH,
            secure=self._https,
            httponly=True,
            samesite="Lax",
        )
        return to_slack

    def end(self) -> Response:
        slack, state = self.slack(), request.args.get("state", "")
        self._admit(state)
        try:
            response = self._end(slack)
        except HttpError as error:
            response = as_page(error)
        response.delete_cookie(_cookie_of(state), path=SIGNIN_PATH, secure=self._https)
        return response

    def _admit(self, state: str) -> None:
        """The state is used up in any case: nobody can try another cookie with it."""
        with self.pool.connection() as connection:
            used = oauth_states.consume(connection, "state", state)
        given = oauth_states.digest(request.cookies.get(_cookie_of(state), ""))
        if used is None or used.browser is None or not hmac.compare_digest(used.browser, given):
            raise INVALID_STATE()

    def _end(self, slack: SlackSettings) -> Response:
        code = request.args.get("code", "")
        try:
            granted = oauth.exchange(slack, code, self.redirect_uri) if code else _no_code()
        except Rejected as error:
            log.warning("not installed in Slack", error=str(error))
            raise from_slack(error.code, self.redirect_uri, slack.client_id or "") from None
        except (RetryAt, UnknownOutcome) as error:
            log.warning("not installed in Slack", error=str(error))
            limited = isinstance(error, RetryAt)
            raise (RATE_LIMITED if limited else NO_RESPONSE)() from None
        _require_use(granted)
        others = self._keep(granted)
        log.info("installed in Slack", team=granted.team, name=granted.team_name, by=granted.by)
        page = render_template(
            "slack_installed.html",
            command=COMMAND,
            team=granted.team,
            team_name=granted.team_name,
            bot=oauth.name_of_bot(slack, granted.token),
            channels=_channels(self.current.config, granted.team),
            others=others,
        )
        return make_response(page)

    def _keep(self, granted: Granted) -> list[str]:
        """The names of the other workspaces."""
        new = NewInstallation(
            team=granted.team,
            team_name=granted.team_name,
            app_id=granted.app_id,
            bot_user=granted.bot_user,
            scopes=granted.scopes,
            token=self.cipher.encrypt(granted.token),
            refresh_token=self.cipher.encrypt(granted.refresh_token)
            if granted.refresh_token
            else None,
            expires_at=granted.expires_at,
            installed_by=granted.by,
        )
        with self.pool.connection() as connection, connection.transaction():
            slack_installations.save(connection, new)
            self.on_install(connection, granted.team)
            every = slack_installations.every_sync(connection)
        return [other.team_name for other in every if other.team != granted.team]


def blueprint(
    pool: SyncPool,
    settings: SlackSettings,
    server_url: str,
    current: CurrentConfig,
    cipher: Cipher,
    *,
    on_install: OnInstall,
) -> Blueprint:
    """Needs the blueprint of the pages, whose templates and style it uses."""
    install = Install(pool, settings, server_url, current, cipher, on_install)
    bp = Blueprint("slack_install", __name__, template_folder="templates")
    bp.after_request(_with_headers)
    bp.add_url_rule(INSTALL_PATH, "page", install.page, methods=["GET"])
    bp.add_url_rule(INSTALL_PATH, "begin", install.begin, methods=["POST"])
    bp.add_url_rule(SIGNIN_PATH, "end", install.end, methods=["GET"])
    return bp


ERRORS = ErrorHandling(as_page, STORE_UNAVAILABLE())


def _no_code() -> NoReturn:
    """Slack redirected back with its error, or with nothing."""
    if code := request.args.get("error", ""):
        raise oauth.rejected(code)
    raise NO_CODE()


def _require_use(granted: Granted) -> None:
    if not granted.team:
        raise WHOLE_ENTERPRISE()
    if not granted.token or "chat:write" not in granted.scopes.split(","):
        raise NO_BOT()


def install_link(connection: Sync, server_url: str) -> str:
    """Opens the page, once and within an hour."""
    key = secrets.token_urlsafe(32)
    oauth_states.add(connection, "link", key, None, LINK_SECONDS)
    return f"{server_url}{INSTALL_PATH}?key={key}"


def _cookie_of(state: str) -> str:
    """One for each, so that two installations in one browser do not cross."""
    return f"gitploy_slack_{oauth_states.digest(state).hex()[:12]}"


def _channels(config: Config, team: str) -> Sequence[str]:
    """Those of deploy.yml that may be in this workspace, in its order."""
    destinations = [destination for env in config.envs for destination in destinations_of(env)]
    named = [
        channel
        for destination in destinations
        if destination.workspace in (None, team)
        for channel in (destination.channel, destination.failures)
        if channel
    ]
    return list(dict.fromkeys(named))


def form_action(site: str) -> str:
    """Chrome checks it for every redirect of a form too; Slack redirects to the workspace's own
    host."""
    parts = urlsplit(site)
    origins = f"'self' {parts.scheme}://{parts.netloc}"
    try:
        ip_address(parts.hostname or "")
    except ValueError:
        return f"{origins} {parts.scheme}://*.{parts.netloc}"
    return origins


def _policy(targets: str) -> str:
    return f"{PAGE_POLICY}; form-action {targets}"


def _with_headers(response: Response) -> Response:
    response.headers.update(PAGE_HEADERS)
    response.headers.setdefault("Content-Security-Policy", _policy("'none'"))
    return response
