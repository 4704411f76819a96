"""Deliveries: whether GitHub sends them to this relay, and what was missing among them."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

from webhook.check import Finding
from webhook.errors import RelayError
from webhook.github import deliveries
from webhook.github.client import GitHub
from webhook.github.deliveries import Hook
from webhook.github.manifest import WEBHOOK_PATH
from webhook.settings import Settings
from webhook.store import recovery
from webhook.store.database import Sync
from webhook.store.recovery import Summary

MOST_GIVEN_UP = 5
# What arrived so lately shows that the webhook's address works, whatever it is.
_LATELY = timedelta(days=1)


def check_compared(connection: Sync) -> Iterator[Finding]:
    """When GitHub's list was compared last, and what was found."""
    found = recovery.summary(connection)
    if found.failing_for is not None:
        message = f"not compared with GitHub's list for {_span(found.failing_for)}: {found.error}"
        yield Finding("error", "deliveries", message)
    elif found.compared_at is None:
        message = "not compared with GitHub's list yet; a worker does that when it starts"
        yield Finding("note", "deliveries", message)
    else:
        at = f"{_written(found.compared_at)}; {_counts(found)}"
        yield Finding("ok", "deliveries", f"compared with GitHub's list at {at}")
    for one in recovery.given_up(connection, MOST_GIVEN_UP):
        message = f"{one.guid} of {_written(one.delivered_at)} ({one.event}) is given up:"
        remedy = "redeliver it from the App's Advanced page, or ask for the deployment again"
        yield Finding("note", "deliveries", f"{message} {one.reason}; {remedy}")


def _counts(found: Summary) -> str:
    if not found.found:
        return "none was ever missing"
    left = [
        *([f"{found.missing} are not here yet"] if found.missing else []),
        *([f"{found.given_up} lately given up"] if found.given_up else []),
    ]
    return f"{found.found} were missing so far, {', '.join(left) or 'all recovered'}"


def _span(span: timedelta) -> str:
    minutes = round(span.total_seconds() / 60)
    return f"{minutes} min" if minutes else f"{span.total_seconds():.0f} s"


def _written(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


async def check_hook(
    github: GitHub, settings: Settings, silent_for: timedelta | None
) -> list[Finding]:
    """Where GitHub sends deliveries. `silent_for`: since the last that arrived."""
    try:
        hook = await deliveries.hook(github)
    except RelayError as error:
        return [Finding("note", "webhook", f"where it points is not known: {error}")]
    if settings.deliveries == "pull":
        return [_pulled(hook)]
    own = f"{settings.server_url}{WEBHOOK_PATH}"
    set_it = f"set the webhook URL to {own} and make it active, in the GitHub App's settings"
    if hook is None or not hook.url:
        return [Finding("error", "webhook", f"the App has none, so nothing arrives; {set_it}")]
    return list(_sent(hook, own, set_it, arrives=silent_for is not None and silent_for < _LATELY))


def _pulled(hook: Hook | None) -> Finding:
    if hook is None or not hook.url:
        message = (
            "the App has none, and GitHub keeps no deliveries without one: set any URL that is"
            " yours and make it active, in the GitHub App's settings"
        )
        return Finding("error", "webhook", message)
    message = f"deliveries are pulled; GitHub also sends them to {_shown(hook.url)}"
    return Finding("ok", "webhook", message)


def _sent(hook: Hook, own: str, set_it: str, *, arrives: bool) -> Iterator[Finding]:
    if _address(hook.url) == _address(own):
        yield Finding("ok", "webhook", f"GitHub sends to {own}")
    elif arrives:
        message = f"GitHub sends to {_shown(hook.url)}, from where deliveries reach this relay"
        yield Finding("note", "webhook", f"{message}; if it need not be so, {set_it}")
    else:
        message = f"GitHub sends to {_shown(hook.url)}, not to this relay, and nothing arrives"
        yield Finding("error", "webhook", f"{message}; {set_it}")
    if hook.content_type != "json":
        message = f"its content type is {hook.content_type}, which the relay rejects"
        remedy = "set it to application/json in the GitHub App's settings"
        yield Finding("error", "webhook", f"{message}; {remedy}")
    if hook.insecure_ssl:
        message = "GitHub does not verify the certificate of the address to which it sends"
        remedy = "enable SSL verification in the GitHub App's settings"
        yield Finding("note", "webhook", f"{message}; {remedy}")


def _address(url: str) -> tuple[str, str, int | None, str]:
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = None
    default = {"http": 80, "https": 443}.get(parts.scheme)
    # POST //webhook is served as /webhook.
    path = "/" + parts.path.strip("/")
    return parts.scheme, parts.hostname or "", port or default, path


def _shown(url: str) -> str:
    """Without what may be a credential."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
