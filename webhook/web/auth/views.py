"""GET /signin: to GitHub and back. POST /signout.

Errors, each a page with the way on: 400 GitHub's code or response is not valid (any more), 403 it
does not belong to an attempt of this browser, or the person refused, 404 sign-in is not set up, 429
too many attempts, 502 GitHub does not respond or does not know us, 503 the store does not respond.
"""

from functools import partial

import structlog
from flask import Blueprint, Response, make_response, redirect, request

from webhook.errors import BadCredentials, HttpError, Rejected, RetryAt, UnknownOutcome
from webhook.github.authorization import (
    BAD_CLIENT,
    BAD_CODE,
    BAD_REDIRECT,
    Person,
    UserAuthorization,
    authorization_of,
)
from webhook.github.manifest import SIGNIN_PATH
from webhook.security.attempts import FailedAttempts
from webhook.web.auth.attempts import Attempt, Attempts
from webhook.web.auth.forms import local_path, require_own_form
from webhook.web.services import PageServices

log = structlog.get_logger()

# Wrong codes that one address may bring in a minute: each is a call to GitHub. Right ones do not
# count: behind a proxy, all addresses may be the same.
MOST_ATTEMPTS = 30
_OPERATOR = "Whoever runs the relay"

NOT_CONFIGURED = partial(
    HttpError,
    404,
    "Nobody can sign in to this relay",
    detail="GITPLOY_GITHUB_CLIENT_SECRET is not set, so the relay has no pages but those of single"
    " deployments, behind their links.",
    remedy=f"{_OPERATOR} generates a client secret in the GitHub App's settings, sets it beside"
    " GITPLOY_GITHUB_CLIENT_ID, and restarts the relay.",
)
OTHER_ATTEMPT = partial(
    BadCredentials,
    403,
    "This is not a response to a sign-in that was started here",
    detail="It was started in another browser, more than ten minutes ago, or was used already.",
    remedy="Sign in again.",
)
TOO_MANY = partial(
    HttpError,
    429,
    "Too many attempts to sign in",
    detail=f"More than {MOST_ATTEMPTS} that failed came from your address in a minute.",
    remedy="Wait for a minute, then sign in again.",
    retry_after=60,
)
NO_RESPONSE = partial(
    HttpError,
    502,
    "GitHub did not respond",
    detail="It is down, or the relay cannot reach it, so nobody is signed in.",
    remedy="Check githubstatus.com. When GitHub is up, sign in again.",
)


class SignIn:
    def __init__(self, services: PageServices, authorization: UserAuthorization | None) -> None:
        self._services = services
        self._authorization = authorization
        secure = services.sessions.secure
        self._attempts = Attempts(services.secret_keys, services.clock, secure=secure)
        self._exchanges = FailedAttempts()

    @property
    def authorization(self) -> UserAuthorization:
        if self._authorization is None:
            raise NOT_CONFIGURED()
        return self._authorization

    def signin(self) -> Response:
        """Without a state it is a start: GitHub also comes here by itself, after an installation
        that requests the authorization, with a code that nobody here has asked for."""
        if "state" not in request.args:
            return self._begin()
        return self._end()

    def _begin(self) -> Response:
        authorization = self.authorization
        response = _redirect("/")
        then = local_path(request.args.get("next", "/"))
        attempt = self._attempts.begin(then, request, response)
        response.location = authorization.authorize_url(
            attempt.state,
            attempt.verifier,
            select_account=request.args.get("account") == "other",
        )
        return response

    def _end(self) -> Response:
        attempt = self._attempts.of(request.args["state"], request)
        if attempt is None:
            raise OTHER_ATTEMPT()
        if error := request.args.get("error", ""):
            raise _rejected(error, self.authorization)
        person = self._person(request.args.get("code", ""), attempt)
        log.info("signed in", login=person.login, id=person.id)
        response = _redirect(attempt.next)
        self._services.sessions.begin(person, response)
        self._attempts.end(attempt, response)
        return response

    def _person(self, code: str, attempt: Attempt) -> Person:
        address = request.environ["REMOTE_ADDR"]
        if self._exchanges.add(address) > MOST_ATTEMPTS:
            raise TOO_MANY()
        authorization = self.authorization
        try:
            person = self._services.github.run(
                lambda outside: authorization.person(outside.session, code, attempt.verifier),
                within=10,
            )
            self._exchanges.take_back(address)
            return person
        except Rejected as error:
            log.warning("not signed in", error=str(error))
            raise _rejected(error.code, authorization) from None
        except (RetryAt, UnknownOutcome) as error:
            log.warning("not signed in", error=str(error))
            raise NO_RESPONSE() from None

    def signout(self) -> Response:
        services = self._services
        session = services.viewer().session
        response = _redirect("/")
        if session is not None:
            require_own_form(services.sessions, session, services.settings.server_url)
            services.sessions.end(session, response)
            log.info("signed out", login=session.person.login, id=session.person.id)
        return response


def add_to(bp: Blueprint, services: PageServices) -> None:
    signing = SignIn(services, authorization_of(services.settings, services.clock))
    bp.add_url_rule(SIGNIN_PATH, "signin", signing.signin, methods=["GET"])
    bp.add_url_rule("/signout", "signout", signing.signout, methods=["POST"])


def _rejected(code: str, authorization: UserAuthorization) -> HttpError:
    """What GitHub's error code means here."""
    match code:
        case "access_denied":
            return HttpError(
                403,
                "You are not signed in",
                detail="The authorization was not given on GitHub's page.",
                remedy="If that was a mistake, sign in again.",
            )
        case _ if code == BAD_CODE:
            return HttpError(
                400,
                "The code from GitHub is no longer valid",
                detail=f"It works once, within ten minutes (GitHub returned {code}).",
                remedy="Sign in again.",
            )
        case "unverified_user_email":
            return HttpError(
                403,
                "GitHub does not say who you are",
                detail=f"Your e-mail address is not verified there (GitHub returned {code}).",
                remedy="Verify it at github.com/settings/emails, then sign in again.",
            )
        case _ if code == BAD_CLIENT:
            return HttpError(
                502,
                "GitHub does not take this relay for the App",
                detail=f"GITPLOY_GITHUB_CLIENT_SECRET is not a client secret of the App"
                f" {authorization.client_id} (GitHub returned {code}).",
                remedy=f"{_OPERATOR} generates a client secret in the App's settings, sets it and"
                " restarts the relay.",
            )
        case _ if code == BAD_REDIRECT:
            return HttpError(
                502,
                "GitHub does not know where this relay is",
                detail=f"The App has no callback URL {authorization.redirect_uri} (GitHub returned"
                f" {code}).",
                remedy=f"{_OPERATOR} adds exactly that one in the App's settings. If the address is"
                " wrong: it is made of GITPLOY_SERVER_PROTO and GITPLOY_SERVER_HOST.",
            )
    return HttpError(
        502,
        "GitHub rejected the sign-in",
        detail=f"GitHub returned {code or 'an error without a name'}."[:200],
        remedy="Sign in again; if that goes on, whoever runs the relay finds it in the log.",
    )


def _redirect(url: str) -> Response:
    return make_response(redirect(url, 303))
