"""Installing the app in a Slack workspace: a one-time link, Slack's own page, and back.

Source: docs.slack.dev/authentication/installing-with-oauth. Units: seconds. Errors: pages that say
what to do (webhook.slack.install.errors); 400 and 403 a link, an answer or a code that is
not good, 404 no Slack app is set, 502 Slack does not answer or does not know us, 503 the store is
away.
"""

import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

import psycopg
import structlog
from flask import Blueprint, Response, make_response, redirect, render_template, request
from werkzeug.wrappers import Response as Redirect

from webhook.config.load import Config
from webhook.errors import RetryAt, UnknownOutcome
from webhook.security.cipher import Cipher
from webhook.settings import Settings, SlackSettings
from webhook.slack import oauth
from webhook.slack.install import errors as problems
from webhook.slack.install import pages
from webhook.slack.manifest import SIGNIN_PATH
from webhook.slack.oauth import Granted, SaysNo
from webhook.store import oauth_states, slack_installations
from webhook.store.database import Sync, SyncPool
from webhook.store.slack_installations import NewInstallation
from webhook.web.pages.views import Problem

log = structlog.get_logger()

OnInstall = Callable[[Sync, str], None]

INSTALL_PATH = "/slack/install"
LINK_SECONDS = 3600
# As long as Slack's code is good.
STATE_SECONDS = 600
_LARGEST_FORM = 4096
_RETRY_AFTER = 60
_POLICY = (
    "default-src 'none'; style-src 'self'; base-uri 'none'; frame-ancestors 'none'; form-action "
)
_HEADERS = {
    # Keys, codes and states are in the URLs.
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True, slots=True)
class Install:
    """`on_install` is told in the transaction that keeps the tokens."""

    pool: SyncPool
    settings: Settings
    config: Config
    cipher: Cipher
    on_install: OnInstall

    def slack(self) -> SlackSettings:
        if not self.settings.slack.client_id:
            raise Problem(*problems.NOT_CONFIGURED)
        return self.settings.slack

    @property
    def redirect_uri(self) -> str:
        return f"{self.settings.server_url}{SIGNIN_PATH}"

    @property
    def _https(self) -> bool:
        return self.settings.server_proto == "https"

    def page(self) -> Response:
        """Uses nothing up: previews and prefetches of the link come here too."""
        slack, key = self.slack(), request.args.get("key", "")
        with self.pool.connection() as connection:
            if not oauth_states.is_kept(connection, "link", key):
                raise Problem(*problems.LINK)
        asked = pages.asked(oauth.scopes(slack))
        page = make_response(render_template("slack_install.html", key=key, scopes=asked))
        page.headers["Content-Security-Policy"] = _POLICY + pages.form_action(oauth.site(slack))
        return page

    def begin(self) -> Redirect:
        slack = self.slack()
        request.max_content_length = _LARGEST_FORM
        state, browser = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        with self.pool.connection() as connection, connection.transaction():
            if not oauth_states.use(connection, "link", request.form.get("key", "")):
                raise Problem(*problems.LINK)
            oauth_states.keep(connection, "state", state, browser, STATE_SECONDS)
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
        except Problem as problem:
            response = _shown(problem)
        response.delete_cookie(_cookie_of(state), path=SIGNIN_PATH, secure=self._https)
        return response

    def _admit(self, state: str) -> None:
        """It is used up whatever comes of it: nobody can try another cookie with it."""
        with self.pool.connection() as connection:
            used = oauth_states.use(connection, "state", state)
        given = oauth_states.digest(request.cookies.get(_cookie_of(state), ""))
        if used is None or used.browser is None or not hmac.compare_digest(used.browser, given):
            raise Problem(*problems.STATE)

    def _end(self, slack: SlackSettings) -> Response:
        code = request.args.get("code", "")
        try:
            granted = oauth.exchange(slack, code, self.redirect_uri) if code else _no_code()
        except SaysNo as no:
            log.warning("not installed in Slack", words=str(no))
            told = problems.refused(no.code, self.redirect_uri, slack.client_id or "")
            raise Problem(*told) from None
        except (RetryAt, UnknownOutcome) as trouble:
            log.warning("not installed in Slack", words=str(trouble))
            told = problems.BUSY if isinstance(trouble, RetryAt) else problems.NO_ANSWER
            raise Problem(*told) from None
        _require_use(granted)
        others = self._keep(granted)
        log.info("installed in Slack", team=granted.team, name=granted.team_name, by=granted.by)
        page = render_template(
            "slack_installed.html",
            team=granted.team,
            team_name=granted.team_name,
            bot=oauth.name_of_bot(slack, granted.token),
            channels=pages.channels_of(self.config, granted.team),
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
            token=self.cipher.seal(granted.token),
            refresh_token=self.cipher.seal(granted.refresh_token)
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
    pool: SyncPool, settings: Settings, config: Config, cipher: Cipher, on_install: OnInstall
) -> Blueprint:
    """Needs the blueprint of the pages beside it, whose frame and style it uses."""
    install = Install(pool, settings, config, cipher, on_install)
    made = Blueprint("slack_install", __name__, template_folder="templates")
    made.register_error_handler(Problem, _shown)
    made.register_error_handler(psycopg.Error, _store_is_away)
    made.after_request(_with_headers)
    made.add_url_rule(INSTALL_PATH, "page", install.page, methods=["GET"])
    made.add_url_rule(INSTALL_PATH, "begin", install.begin, methods=["POST"])
    made.add_url_rule(SIGNIN_PATH, "end", install.end, methods=["GET"])
    return made


def _no_code() -> NoReturn:
    """Slack led back with its refusal, or with nothing."""
    if said := request.args.get("error", ""):
        raise SaysNo(said)
    raise Problem(*problems.NO_CODE)


def _require_use(granted: Granted) -> None:
    if not granted.team:
        raise Problem(*problems.WHOLE_ENTERPRISE)
    if not granted.token or "chat:write" not in granted.scopes.split(","):
        raise Problem(*problems.NO_BOT)


def install_link(connection: Sync, server_url: str) -> str:
    """Opens the page, once and within an hour."""
    key = secrets.token_urlsafe(32)
    oauth_states.keep(connection, "link", key, None, LINK_SECONDS)
    return f"{server_url}{INSTALL_PATH}?key={key}"


def _cookie_of(state: str) -> str:
    """One for each, so that two installations in one browser do not cross."""
    return f"gitploy_slack_{oauth_states.digest(state).hex()[:12]}"


def _shown(problem: Problem) -> Response:
    response = problem.answer()
    if problem.status == 503:
        response.headers["Retry-After"] = str(_RETRY_AFTER)
    return response


def _store_is_away(error: psycopg.Error) -> Response:
    log.error("cannot be installed in Slack, the store is away", trouble=type(error).__name__)
    return _shown(Problem(*problems.STORE_AWAY))


def _with_headers(response: Response) -> Response:
    response.headers.update(_HEADERS)
    response.headers.setdefault("Content-Security-Policy", f"{_POLICY}'none'")
    return response
