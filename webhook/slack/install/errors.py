"""Why the app was not installed in Slack, and what to do: the pages of a failed installation.

Source: docs.slack.dev/reference/methods/oauth.v2.access ("Errors"), and RFC 6749, 4.1.2.1, for what
Slack's own page sends people back with.
"""

from functools import partial

from webhook.errors import HttpError

# Seconds.
RETRY_AFTER = 60
AGAIN = "ask for a new link with python -m webhook slack install-link"
_FROM_THE_START = AGAIN.capitalize()
_OPERATOR = "Whoever runs the relay"

NOT_CONFIGURED = partial(
    HttpError,
    404,
    "This relay cannot be installed in Slack yet",
    detail="It knows no Slack app: GITPLOY_SLACK_CLIENT_ID and GITPLOY_SLACK_CLIENT_SECRET are not"
    " set.",
    remedy=f"{_OPERATOR} copies both from the Slack app's Basic Information, sets them and restarts"
    " the relay. If there is no app yet, create it with python -m webhook slack manifest.",
)
INVALID_LINK = partial(
    HttpError,
    403,
    "This link cannot be used to install the app",
    detail="It is incomplete, was used already, or is older than an hour. A link works once.",
    remedy=f"{_FROM_THE_START}. If a page said that the app is installed, you are done.",
)
INVALID_STATE = partial(
    HttpError,
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
