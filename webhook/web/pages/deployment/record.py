"""The record of a deployment on its page: each status and message as it was sent or rejected, the
deliveries that it came of, and what people did with it.

Of a message only is kept where it stands; its text is made again, of what is known now.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from webhook.deployments.notice import DeploymentNotice
from webhook.notifiers import NOTIFIERS, title_of
from webhook.notifiers.contract import Message, Reads
from webhook.store.audit import Act
from webhook.store.deployment_record import DeliveryRecord
from webhook.store.outbox import Entry
from webhook.store.timeline import TimelineEntry
from webhook.text import one_line, web_url
from webhook.web import paths
from webhook.web.pages.elements import Link, Moment, line, moment
from webhook.web.pages.terminal_text import harmless

# Of each kind, the newest: a page is light.
MOST = 30
_ENTRY_STATES = {
    "waiting": ("waiting", "waits to be sent"),
    "claimed": ("waiting", "is being sent"),
    "sent": ("good", "sent"),
    "rejected": ("bad", "rejected"),
    "skipped": ("past", "not sent: a newer one replaced it"),
}
_PURPOSES = {
    "main": "the message that is kept up to date",
    "reply": "in its thread",
    "alert": "of the failure",
    "announcement": "an announcement",
}
_OUTCOMES = {
    "done": ("good", "done"),
    "ignored": ("past", "ignored"),
    "failed": ("bad", "failed"),
    "refused": ("error", "refused"),
    None: ("waiting", "not processed yet"),
}
_WAYS = {"webhook": "", "pulled": "fetched from GitHub's list", "listed": "made from GitHub's list"}


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusView:
    """A status for GitHub with what it says there; `number`: GitHub's, 0 if it is not there."""

    at: Moment
    state: str
    description: str
    environment_link: Link | None
    kind: str
    sent: str
    error: str
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageView:
    """`ref`: where it stands, in the terms of who has it. `text`: how it reads now, "" if that is
    not known here."""

    place: str
    purpose: str
    kind: str
    sent: str
    ref: str
    error: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryView:
    event: str
    guid: Link
    at: Moment
    kind: str
    outcome: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonsActView:
    actor: str
    act: str
    kind: str
    outcome: str
    at: Moment
    source: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordView:
    """`failing`: something was rejected, or cannot be sent now. `deliveries` and `acts` are None
    for who may not see them. `statuses_more`: older ones that are not shown."""

    statuses: tuple[StatusView, ...]
    statuses_more: int
    messages: tuple[MessageView, ...]
    deliveries: tuple[DeliveryView, ...] | None
    acts: tuple[PersonsActView, ...] | None

    @property
    def shown(self) -> bool:
        return bool(self.statuses or self.messages or self.acts or self.deliveries is not None)

    @property
    def failing(self) -> bool:
        errors = [one.error for one in self.statuses] + [one.error for one in self.messages]
        return any(errors)


def build_record(
    timeline: Sequence[TimelineEntry],
    messages: Sequence[Entry],
    deliveries: Iterable[DeliveryRecord] | None,
    acts: Iterable[Act] | None,
    notice: DeploymentNotice | None = None,
) -> RecordView:
    """`notice`: what messages say, for who may read them here."""
    ours = [one for one in timeline if one.outbox is not None]
    return RecordView(
        statuses=tuple(_status(one) for one in reversed(ours[-MOST:])),
        statuses_more=max(0, len(ours) - MOST),
        messages=tuple(_message(one, notice) for one in messages[:MOST]),
        deliveries=None if deliveries is None else tuple(map(_delivery, deliveries)),
        acts=None if acts is None else tuple(map(_act, acts)),
    )


def _status(entry: TimelineEntry) -> StatusView:
    """GitHub has the description at the length that it accepts."""
    kind, sent = _ENTRY_STATES[entry.outbox or "waiting"]
    url = web_url(entry.environment_url)
    return StatusView(
        at=moment(entry.at),
        state=line(entry.state),
        description=one_line(entry.description),
        environment_link=Link(url, line(url)) if url else None,
        kind="error" if entry.error and kind == "waiting" else kind,
        sent=sent,
        error=line(entry.error),
        number=entry.github_id or 0,
    )


def _message(entry: Entry, notice: DeploymentNotice | None) -> MessageView:
    title, place = title_of(line(entry.destination))
    kind, sent = _ENTRY_STATES[entry.state]
    if entry.over and entry.simplified:
        kind, sent = "error", f"{sent} in a simpler form"
    elif entry.over and entry.error:
        kind, sent = "bad", f"{sent}, but not the latest change"
    if entry.edits:
        sent += f", edited {entry.edits} time{'' if entry.edits == 1 else 's'}"
    ref = " ".join(f"{name} {value}" for name, value in (entry.ref or {}).items())
    return MessageView(
        place=f"{title} {place}".strip(),
        purpose=_PURPOSES.get(entry.purpose, line(entry.purpose)),
        kind="error" if entry.error and kind == "waiting" else kind,
        sent=sent,
        ref=line(ref),
        error=line(entry.error),
        text=harmless(_text(entry, notice)) if notice and entry.state == "sent" else "",
    )


def _text(entry: Entry, notice: DeploymentNotice) -> str:
    """What a reply says is in the timeline."""
    kind = NOTIFIERS.get(entry.destination.partition(":")[0])
    if entry.purpose not in ("main", "alert") or not isinstance(kind, Reads):
        return ""
    return kind.text_of(Message(purpose=entry.purpose, about=notice))


def _delivery(one: DeliveryRecord) -> DeliveryView:
    kind, outcome = _OUTCOMES[one.outcome]
    notes = [line(one.reason), _WAYS[one.way]]
    notes += [f"sent {one.arrivals} times"] if one.arrivals > 1 else []
    return DeliveryView(
        event=line(f"{one.event}.{one.action}" if one.action else one.event),
        guid=Link(paths.delivery(one.guid), line(one.guid)),
        at=moment(one.received_at),
        kind=kind,
        outcome=outcome,
        reason="; ".join(note for note in notes if note),
    )


def _act(one: Act) -> PersonsActView:
    kind, outcome = _OUTCOMES[one.outcome]
    return PersonsActView(
        actor=line(one.actor),
        act=line(one.action.replace("_", " ")),
        kind=kind,
        outcome=outcome,
        at=moment(one.at),
        source=_SOURCES.get(one.source, line(one.source)),
        reason=line(one.reason),
    )


_SOURCES = {
    "slack": "in Slack",
    "page": "on a page",
    "command line": "at the command line",
    "relay": "by a rule of deploy.yml",
}
