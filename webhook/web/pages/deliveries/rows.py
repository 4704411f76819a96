"""What the pages of the deliveries show of each one: plain data."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from webhook.deployments.labels import Label, phase_label
from webhook.deployments.phases import Phase
from webhook.engine.deliveries import RESULTS, WAYS, lateness_of, reason_of
from webhook.github.event_names import about
from webhook.logs import Redactor
from webhook.store.deliveries import DeliverySummary, State
from webhook.store.delivery_requests import DeliveryRequest, Failure
from webhook.store.recovery import MissedDelivery
from webhook.web import paths
from webhook.web.pages.elements import Link, Moment, line, moment

# As `Label.kind`.
RESULT_TONES: dict[State, str] = {
    "waiting": "waiting",
    "processed": "good",
    "ignored": "past",
    "failed": "bad",
}
_MISSED = {
    "missing": ("missing", "error"),
    "recovered": ("recovered", "good"),
    "given_up": ("given up", "bad"),
}
_REQUESTS = {
    "waiting": ("waits for a worker", "waiting"),
    "running": ("is being done", "running"),
    "done": ("done", "good"),
    "cancelled": ("cancelled", "past"),
    "failed": ("failed", "bad"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryRow:
    """`about`: the event with its action. `sent`: by GitHub, where that was not just before."""

    guid: str
    url: str
    event: str
    action: str
    repo: str
    environment: str
    deployment: Link | None
    state: Label | None
    received: Moment
    sent: Moment | None
    late: str
    way: str
    arrivals: int
    failures: int
    result: State
    tone: str
    reason: str

    @property
    def about(self) -> str:
        return f"{self.event}.{self.action}" if self.action else self.event


def row_of(one: DeliverySummary, redactor: Redactor, now: datetime) -> DeliveryRow:
    said = about(one.body)
    repo = one.repo or said.repo
    result = RESULTS[one.outcome]
    return DeliveryRow(
        guid=one.guid,
        url=paths.delivery(one.guid),
        event=line(one.event),
        action=one.action or said.action,
        repo=line(repo),
        environment=line(one.environment or ""),
        deployment=_deployment(one),
        state=_state(one),
        received=moment(one.received_at),
        sent=moment(one.delivered_at) if one.delivered_at else None,
        late=lateness_of(one) or "",
        way="" if one.way == "webhook" else WAYS[one.way],
        arrivals=one.arrivals,
        failures=one.failures,
        result=result,
        tone=RESULT_TONES[result],
        reason=redactor.text(line(reason_of(one, now))),
    )


def _deployment(one: DeliverySummary) -> Link | None:
    """Of one that the store still has."""
    if not one.deployment_id or one.environment is None or not one.repo:
        return None
    return Link(paths.deployment(one.repo, one.deployment_id), str(one.deployment_id))


def _state(one: DeliverySummary) -> Label | None:
    if one.phase is None:
        return None
    blocked = bool(one.blockers)
    return phase_label(Phase(one.phase), held=False, started=False, blocked=blocked)


@dataclass(frozen=True, slots=True, kw_only=True)
class MissedRow:
    guid: str
    url: str
    event: str
    sent: Moment
    found: Moment
    state: str
    tone: str
    tries: int
    next_try: Moment | None
    reason: str
    asked: "RequestRow | None"


def missed_row(one: MissedDelivery, asked: DeliveryRequest | None = None) -> MissedRow:
    """`asked`: what somebody has requested of it last."""
    text, tone = _MISSED[one.state]
    return MissedRow(
        guid=one.guid,
        url=paths.delivery(one.guid),
        event=line(one.event),
        sent=moment(one.delivered_at),
        found=moment(one.found_at),
        state=text,
        tone=tone,
        tries=one.tries,
        next_try=moment(one.next_try) if one.state == "missing" else None,
        reason=line(one.reason),
        asked=request_row(asked) if asked else None,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRow:
    """What somebody requested of deliveries. `taken`: how many of `count` were. `results`: so many
    are as that now, of those that were taken."""

    id: int
    url: str
    label: str
    login: str
    at: Moment
    ended: Moment | None
    state: str
    tone: str
    open: bool
    message: str
    what: str
    count: int
    taken: int
    skipped: int
    results: Sequence[tuple[int, State, str]] = ()
    failures: Sequence[Failure] = ()


_ORDER: tuple[State, ...] = ("processed", "ignored", "failed", "waiting")


def request_row(
    one: DeliveryRequest,
    results: dict[str, int] | None = None,
    failures: Iterable[Failure] = (),
    *,
    arrivals: int = 0,
) -> RequestRow:
    """`arrivals`: how often GitHub has sent that delivery by now."""
    text, tone = _REQUESTS[one.state]
    message = one.message
    if one.kind == "redeliver" and one.state == "done":
        text = "it has arrived" if arrivals > one.arrivals else "GitHub sends it"
        message = ""
    return RequestRow(
        id=one.id,
        url=replay_path(one.id),
        label="Replay" if one.kind == "replay" else "Redeliver",
        login=one.login,
        at=moment(one.at),
        ended=moment(one.ended_at) if one.ended_at else None,
        state=text,
        tone=tone,
        open=one.open,
        message=line(message),
        what=filter_text(one.filter),
        count=one.count,
        taken=one.position,
        skipped=one.skipped,
        results=_counts(one.results if results is None else results),
        failures=tuple(failures),
    )


def _counts(results: dict[str, int]) -> tuple[tuple[int, State, str], ...]:
    named = {RESULTS[None if name == "waiting" else name]: n for name, n in results.items()}
    return tuple((named[one], one, RESULT_TONES[one]) for one in _ORDER if named.get(one))


def filter_text(given: dict[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in given.items()) or "all"


def replay_path(request_id: int) -> str:
    return f"{paths.DELIVERIES}/replays/{request_id}"
