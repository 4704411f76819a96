"""Starts internal tooling that takes an HTTP request, and asks it or waits for its reports.

The request carries the deployment's id as its `Idempotency-Key`: what the tool has started cannot
be looked for, so a start whose answer got lost is repeated, and the tool knows it by the key.
A run's id is the path that its state is asked at, from `202` and `Location`; any other run reports
by itself.

Source: RFC 9110, sections 15.3.3 (202), 15.4 (redirects) and 10.2.2 (Location).
Errors: as `handlers.http`; `Rejected` where the tool refuses the start.
"""

from dataclasses import replace
from datetime import timedelta
from ssl import SSLContext
from typing import ClassVar

from yarl import URL

from handlers import contract
from handlers.contract import Deployment, HandlerContext, Pace, Run, State
from handlers.endpoint.options import ENCODED, EndpointOptions, at, origin, same_origin
from handlers.endpoint.protocol import LONGEST_URL, Request, Said, to_ask, to_cancel, to_start
from handlers.errors import Rejected, Unavailable, UnknownOutcome
from handlers.http import SET_CA, Response, host_of, tls_context

__all__ = ["Endpoint", "EndpointOptions"]

TOOL = "the tool"
MOST_REDIRECTS = 3
WAITS = "accepted; waiting for the tool's reports"
WAITS_ELSE = "waiting for its reports"
LONGEST_PLACE = 70
A_PAGE = f"{TOOL} answered with a web page; is `url` right?"
NO_CANCEL = "deploy.yml names no `cancel`"
# Redirects after which the same request is made elsewhere, and those that a GET may follow.
SAME_REQUEST = frozenset({307, 308})
FOR_A_GET = frozenset({301, 302, 303, 307, 308})
# Trouble on the tool's way, or the tool's own haste: another try may do.
PASSING = frozenset({408, 425})
GONE = frozenset({404, 410})
# What a tool may say to `cancel` where the run has ended.
ENDED = frozenset({404, 409, 410})


class Endpoint:
    Options: ClassVar[type[contract.Options]] = EndpointOptions
    local: ClassVar[bool] = False
    pace: ClassVar[Pace] = Pace(least=1, most=10)
    appears_within: ClassVar[timedelta] = timedelta(0)

    def __init__(self, options: EndpointOptions, context: HandlerContext) -> None:
        self._options = options
        self._http = context.http

    async def find(self, deployment: Deployment) -> Run | None:
        """There is nothing to ask; the tool knows a repeated start by its key."""
        return None

    async def start(self, deployment: Deployment) -> Run:
        request = to_start(self._options, deployment)
        response, url = await self._call(request, SAME_REQUEST)
        if response.status in PASSING:
            raise Unavailable(_words(response))
        reason = Said.of(response)
        if not response.ok and not _has_it(response, reason):
            raise Rejected(_words(response), status=response.status)
        run = reason.changes(Run(str(deployment.id), reason.state or State.IN_PROGRESS))
        return run if run.state.final else self._going_on(run, response, url)

    def _going_on(self, run: Run, response: Response, url: URL) -> Run:
        if response.status not in (202, 409) or not response.headers.get("Location"):
            waits = A_PAGE if response.is_page else WAITS
            return run if run.description else replace(run, description=waits)
        place = self._place(response, url)
        if place is None:
            words = ": ".join(filter(None, (_not_asked(response), run.description)))
            return replace(run, description=words)
        return replace(run, id=place.raw_path_qs)

    async def check(self, deployment: Deployment, run: Run) -> Run:
        if not run.id.startswith("/"):
            return run
        url = at(origin(self._options.url), run.id)
        response, _ = await self._call(to_ask(self._options, deployment, url), FOR_A_GET)
        if response.status in GONE:
            words = f"{TOOL} at {response.origin} no longer knows its run ({response.status})"
            return replace(run, state=State.ERROR, description=words)
        if not response.ok:
            raise Unavailable(_words(response))
        reason = Said.of(response)
        if reason.word:
            return reason.changes(run)
        match response.status:
            case 202:
                return reason.changes(replace(run, state=State.IN_PROGRESS))
            case 204:
                return replace(run, state=State.SUCCESS, description="")
        # A page to sign in at is a 200 too: no success is made of it.
        what = "a web page" if response.is_page else "something else"
        raise UnknownOutcome(
            f"{TOOL} at {response.origin} answers {response.status}, but its Location has to answer"
            f" with a `state`, not with {what}"
        )

    async def cancel(self, deployment: Deployment, run: Run) -> None:
        cancel = self._options.cancel
        if cancel is None:
            raise Rejected(NO_CANCEL)
        request = to_cancel(self._options, cancel, deployment)
        response, _ = await self._call(request, SAME_REQUEST)
        if not response.ok and response.status not in ENDED:
            raise Unavailable(_words(response))

    async def _call(self, request: Request, followed: frozenset[int]) -> tuple[Response, URL]:
        """The answer, and who gave it; redirects are followed on the same host only."""
        url = request.url
        for left in reversed(range(MOST_REDIRECTS + 1)):
            response = await self._http.call(
                TOOL,
                request.method,
                url,
                headers=request.headers,
                data=request.body,
                tls=self._tls(),
                untrusted=SET_CA,
            )
            place = self._place(response, url) if response.status in followed and left else None
            if place is None:
                break
            url = place
        return response, url

    def _tls(self) -> SSLContext | None:
        files = (self._options.ca, self._options.certificate, self._options.key)
        return tls_context(*files) if any(files) else None

    def _place(self, response: Response, url: URL) -> URL | None:
        """Where `Location` leads, if that is on the tool's own host."""
        location = response.headers.get("Location", "")
        try:
            # As it was given, if it can be sent so: it may be signed.
            place = url.join(URL(location, encoded=ENCODED.fullmatch(location) is not None))
            leads_away = not same_origin(place, origin(self._options.url))
        except ValueError:
            return None
        if not location or leads_away or len(place.raw_path_qs) > LONGEST_URL:
            return None
        return at(place.origin(), place.raw_path_qs)


def _has_it(response: Response, reason: Said) -> bool:
    """Whether it knows the run already, and says how it goes."""
    return response.status == 409 and reason.state is not None


def _not_asked(response: Response) -> str:
    """Why it is not asked at its Location."""
    target = response.target()
    if target is None or same_origin(target, response.url):
        return f"its Location cannot be asked; {WAITS_ELSE}"
    place = f"{target.scheme}://{host_of(target)}"
    shown = f" ({place})" if len(place) <= LONGEST_PLACE else ""
    return f"its Location leads to another address{shown}; {WAITS_ELSE}"


def _words(response: Response) -> str:
    """Of an answer that is not ok."""
    if response.status not in (401, 403):
        return response.words()
    fallback = "it does not accept the `secret` or the `headers` of deploy.yml"
    return f"{TOOL} at {response.origin} answers {response.status}: {response.reason() or fallback}"
