"""The operator's own tooling over HTTP: started by a request, then polled or waited for.

The request carries the deployment's id as its `Idempotency-Key`. A run that the tool has started
cannot be searched for, so a start whose response got lost is repeated: as often as needed if the
tool knows it by the key, which `restart: safe` says. A run's id is the path at which its state is
polled, from `202` and `Location`; any other run reports by itself.

Source: RFC 9110, sections 15.3.3 (202), 15.4 (redirects) and 10.2.2 (Location).
Errors: those of http.py; `Rejected` if the tool rejects the start.
"""

from dataclasses import replace
from datetime import timedelta
from ssl import SSLContext
from typing import ClassVar

from yarl import URL

from handlers import contract
from handlers.contract import Deployment, HandlerContext, Pace, Run, State
from handlers.endpoint.options import (
    ENCODED,
    EVENT,
    IDEMPOTENCY_KEY,
    EndpointOptions,
    at,
    origin,
    same_origin,
)
from handlers.endpoint.protocol import RunUpdate, to_cancel, to_poll, to_start
from handlers.errors import Rejected, Unavailable, UnknownOutcome
from handlers.http import SET_CA, Request, Response, host_of, tls_context
from handlers.preview import HttpPreview, Preview
from handlers.text import MAX_URL

__all__ = ["Endpoint", "EndpointOptions"]

TOOL = "the tool"
MAX_REDIRECTS = 3
WAITING = "accepted; waiting for the tool's reports"
WAITING_ANYWAY = "waiting for its reports"
MAX_SHOWN_ORIGIN = 70
WEB_PAGE = f"{TOOL} returned a web page; is `url` right?"
NO_CANCEL = "deploy.yml names no `cancel`"
# Redirects after which the same request is made elsewhere, and those that a GET may follow.
FOLLOWED_BY_ALL = frozenset({307, 308})
FOLLOWED_BY_GET = frozenset({301, 302, 303, 307, 308})
# Timeouts and requests too early: another try may succeed.
RETRYABLE = frozenset({408, 425})
GONE = frozenset({404, 410})
# Responses to `cancel` for a run that has ended.
ENDED = frozenset({404, 409, 410})


class Endpoint:
    Options: ClassVar[type[contract.Options]] = EndpointOptions
    local: ClassVar[bool] = False
    pace: ClassVar[Pace] = Pace(least=1, most=10)
    appears_within: ClassVar[timedelta] = timedelta(0)

    def __init__(self, options: EndpointOptions, context: HandlerContext) -> None:
        self.restart_is_safe = options.restart == "safe"
        self._options = options
        self._http = context.http

    async def find(self, deployment: Deployment) -> Run | None:
        """Nothing can be searched; the tool knows a repeated start by its key."""
        return None

    async def start(self, deployment: Deployment) -> Run:
        request = to_start(self._options, deployment)
        response, url = await self._call(request, FOLLOWED_BY_ALL)
        if response.status in RETRYABLE:
            raise Unavailable(_message(response))
        update = RunUpdate.parse(response)
        if not response.ok and not _is_known_run(response, update):
            raise _rejected(response)
        run = update.apply_to(Run(str(deployment.id), update.state or State.IN_PROGRESS))
        return run if run.state.final else self._unfinished(run, response, url)

    def preview(self, deployment: Deployment) -> Preview:
        request = to_start(self._options, deployment)
        return Preview(calls=(HttpPreview.of(request, (EVENT, IDEMPOTENCY_KEY)),))

    def _unfinished(self, run: Run, response: Response, url: URL) -> Run:
        if response.status not in (202, 409) or not response.headers.get("Location"):
            return run if run.description else replace(run, description=_waiting(response))
        location = self._location(response, url)
        if location is None:
            description = ": ".join(filter(None, (_why_not_polled(response), run.description)))
            return replace(run, description=description)
        return replace(run, id=location.raw_path_qs)

    async def check(self, deployment: Deployment, run: Run) -> Run:
        if not run.id.startswith("/"):
            return run
        url = at(origin(self._options.url), run.id)
        response, _ = await self._call(to_poll(self._options, deployment, url), FOLLOWED_BY_GET)
        if response.status in GONE:
            message = f"{TOOL} at {response.origin} no longer knows its run ({response.status})"
            raise Rejected(message, status=response.status)
        if not response.ok:
            raise Unavailable(_message(response))
        update = RunUpdate.parse(response)
        if update.state_name:
            return update.apply_to(run)
        match response.status:
            case 202:
                return update.apply_to(replace(run, state=State.IN_PROGRESS))
            case 204:
                return replace(run, state=State.SUCCESS, description="")
        # A page to sign in is a 200, too, which is no success.
        what = "a web page" if response.is_page else "something else"
        raise UnknownOutcome(
            f"{TOOL} at {response.origin} returned {response.status}, but its Location has to"
            f" respond with a `state`, not with {what}",
            code="bad_response",
        )

    async def cancel(self, deployment: Deployment, run: Run) -> None:
        cancel = self._options.cancel
        if cancel is None:
            raise Rejected(NO_CANCEL)
        request = to_cancel(self._options, cancel, deployment)
        response, _ = await self._call(request, FOLLOWED_BY_ALL)
        if not response.ok and response.status not in ENDED:
            raise Unavailable(_message(response))

    async def _call(self, request: Request, followed: frozenset[int]) -> tuple[Response, URL]:
        """The response, and the URL that gave it; redirects are followed on the same host only."""
        url = request.url
        for left in reversed(range(MAX_REDIRECTS + 1)):
            sent = replace(request, url=url)
            response = await self._http.send(TOOL, sent, tls=self._tls(), untrusted=SET_CA)
            follows = response.status in followed and left
            location = self._location(response, url) if follows else None
            if location is None:
                break
            url = location
        return response, url

    def _tls(self) -> SSLContext | None:
        files = (self._options.ca, self._options.certificate, self._options.key)
        return tls_context(*files) if any(files) else None

    def _location(self, response: Response, url: URL) -> URL | None:
        """The target of `Location`, if it is on the tool's own host."""
        given = response.headers.get("Location", "")
        try:
            # As it was given, if it needs no encoding: it may be signed.
            location = url.join(URL(given, encoded=ENCODED.fullmatch(given) is not None))
            is_elsewhere = not same_origin(location, origin(self._options.url))
        except ValueError:
            return None
        if not given or is_elsewhere or len(location.raw_path_qs) > MAX_URL:
            return None
        return at(location.origin(), location.raw_path_qs)


def _waiting(response: Response) -> str:
    """Some tools say no with a 200: "Hook rules were not satisfied."."""
    if response.is_page:
        return WEB_PAGE
    said = response.reason()
    return f"{TOOL} says '{said}'; {WAITING_ANYWAY}" if said else WAITING


def _is_known_run(response: Response, update: RunUpdate) -> bool:
    """Whether the tool knows the run already, and gives its state."""
    return response.status == 409 and update.state is not None


def _rejected(response: Response) -> Rejected:
    """A tool that says why it does not deploy means it; what a proxy returns may be over soon."""
    reason = response.reason()
    certain = True if response.status == 422 or (response.status == 403 and reason) else None
    return Rejected(_message(response), status=response.status, reason=reason, certain=certain)


def _why_not_polled(response: Response) -> str:
    """Why the run is not polled at its Location."""
    target = response.target()
    if target is None or same_origin(target, response.url):
        return f"its Location cannot be polled; {WAITING_ANYWAY}"
    address = f"{target.scheme}://{host_of(target)}"
    shown = f" ({address})" if len(address) <= MAX_SHOWN_ORIGIN else ""
    return f"its Location leads to another address{shown}; {WAITING_ANYWAY}"


def _message(response: Response) -> str:
    """For a response that is not ok."""
    if response.status not in (401, 403):
        return response.message()
    fallback = "it does not accept the `secret` or the `headers` of deploy.yml"
    return (
        f"{TOOL} at {response.origin} returned {response.status}: {response.reason() or fallback}"
    )
