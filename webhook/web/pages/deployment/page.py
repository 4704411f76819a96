"""What the page of a deployment shows: rows of the store in, plain data out.

Units: times are shown in UTC. Text from outside is one line without control characters, and only
http(s) URLs become links; escaping is the templates'.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

from handlers import durations
from webhook.deployments.automatic import cause_of, heading_of, requested
from webhook.deployments.difference import Difference
from webhook.deployments.labels import Label, entry_label, phase_label
from webhook.deployments.phases import Phase, ran
from webhook.store.deployments import DeploymentRow
from webhook.store.timeline import BY_PEOPLE, REQUESTED, TimelineEntry
from webhook.text import web_url
from webhook.web.pages.changelog import ChangesView, changelog_since, commit_view
from webhook.web.pages.deployment.data import PageData
from webhook.web.pages.deployment.sending import (
    Sending,
    sending_to_github,
    sent_messages,
    unsent_status,
)
from webhook.web.pages.elements import SOMEBODY, Link, Moment, line, moment
from webhook.web.pages.gates import GatesView, PageOf, build_gates
from webhook.web.pages.terminal_text import harmless

# Characters of a payload that are shown: a page is light.
LONGEST_PAYLOAD = 10_000


@dataclass(frozen=True, slots=True)
class Span:
    seconds: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryView:
    id: int
    label: Label
    at: Moment
    description: str
    actor: str
    links: tuple[Link, ...]
    counted: bool
    late: bool
    github: Sending | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """`status` is what the last report said. `unsent`: GitHub does not show it. `running` is set
    while it runs, `took` when it has ended. `origin` is the deployment from which an action created
    it. `output_kept`: the output is old enough to be deleted; after how many days that is done."""

    title: str
    label: Label
    status: str
    unsent: Sending | None
    hint: str
    running: Span | None
    took: Span | None
    deadline: Moment | None
    repo: Link
    environment: str
    production: bool
    description: str
    ref: Link | None
    sha: Link
    task: str
    origin: Link | None
    superseded_by: Link | None
    gates: GatesView
    requested: tuple[str, str]
    handler: str
    requested_at: Moment
    run: Link | None
    environment_link: Link | None
    payload: str
    payload_cut: bool
    changes: ChangesView | None
    timeline: tuple[EntryView, ...]
    messages: tuple[Sending, ...]
    over: bool
    live: bool
    output_kept: int


def build_page(
    data: PageData,
    now: datetime,
    page_of: PageOf,
    *,
    origin: Link | None = None,
    output_kept: timedelta | None = None,
    gives_up: datetime | None = None,
    may_override: Sequence[str] = (),
) -> Page:
    """`page_of`: the address of another deployment's page. `output_kept`: how long after the end;
    None: forever. `gives_up`: when it ends if it still waits for its gates then. `may_override`:
    who may skip these."""
    row = data.row
    old = output_kept is not None and row.ended_at is not None and row.ended_at + output_kept < now
    blocked = bool(row.blockers) and row.ended_at is None
    started = row.run is not None
    label = phase_label(row.phase, held=data.held, started=started, blocked=blocked)
    start = row.started_at or row.requested_at
    payload = _payload(row.payload)
    return Page(
        title=f"{label.text.capitalize()}: {line(row.repo)} to {line(row.environment)}",
        label=label,
        status="" if blocked else line(row.status_description),
        unsent=unsent_status(data.timeline),
        hint=_hint(data),
        running=_span(start, now) if not row.ended_at else None,
        took=_span(start, row.ended_at) if row.phase is not Phase.SUPERSEDED else None,
        deadline=moment(row.deadline) if row.deadline and not data.over else None,
        repo=Link(web_url(row.repo_url), line(row.repo)),
        environment=line(row.environment),
        production=row.production,
        description=line(row.description),
        ref=_ref(row),
        sha=_on_github(row, "commit", row.sha, line(row.sha[:7])),
        task="" if row.task in ("deploy", f"deploy:{data.lineage.origin}") else line(row.task),
        origin=origin,
        superseded_by=_superseded_by(row, page_of),
        gates=build_gates(row, data.waits, page_of, gives_up, may_override),
        requested=_requested(data),
        handler="GitHub Actions, watched" if row.watched else line(row.handler),
        requested_at=moment(row.created_at, "%d %b %Y, %H:%M:%S"),
        run=_link(_run_url(data), _run_text(row)),
        environment_link=_link(row.environment_url, line(row.environment_url)),
        payload=payload[:LONGEST_PAYLOAD],
        payload_cut=len(payload) > LONGEST_PAYLOAD,
        changes=_changes(data),
        timeline=tuple(_entry(entry, row, data.current_entry) for entry in data.timeline),
        messages=sent_messages(data.messages),
        over=data.over,
        live=not data.settled(now),
        output_kept=output_kept.days if output_kept and old and data.over else 0,
    )


def _link(url: Any, text: str) -> Link | None:
    return Link(url, text) if web_url(url) else None


def _on_github(row: DeploymentRow, kind: str, name: str, text: str) -> Link:
    base = web_url(row.repo_url)
    return Link(f"{base}/{kind}/{quote(name)}" if base else "", text)


def _ref(row: DeploymentRow) -> Link | None:
    if row.shown_ref == row.sha:
        return None
    return _on_github(row, "tree", row.shown_ref, line(row.shown_ref))


def _requested(data: PageData) -> tuple[str, str]:
    """By whom or why, and what that is called."""
    cause, login = cause_of(data.lineage.action), line(data.lineage.login)
    who = login or line(data.row.creator) or SOMEBODY
    return heading_of(cause), requested(cause, login) if cause else who


def _run_url(data: PageData) -> str:
    """Of the run, or of what its tool reported last."""
    run, handler = data.row.run, data.row.handler
    urls = [one.log_url for one in data.timeline if one.actor == handler and one.log_url]
    return run.url if run and run.url else next(reversed(urls), "")


def _run_text(row: DeploymentRow) -> str:
    return f"open in {line(row.handler)}" if row.handler else "open"


def _superseded_by(row: DeploymentRow, page_of: PageOf) -> Link | None:
    if not row.superseded_by:
        return None
    return Link(page_of(row.repo, row.superseded_by), f"deployment {row.superseded_by}")


def _hint(data: PageData) -> str:
    if data.row.phase is Phase.INACTIVE:
        return "It was replaced by a later deployment, or taken down."
    if data.row.phase is Phase.SUPERSEDED:
        return "It never started: while it waited, a newer one became ready, which went instead."
    if data.row.tool_error and not data.over:
        until = "for some minutes" if data.row.rejected_since else "until its deadline"
        return f"It is retried {until}: {line(data.row.tool_error)}"
    if data.row.ended_at and not data.over:
        return "Its run continues and is followed to its end."
    return ""


def _span(start: datetime | None, end: datetime | None) -> Span | None:
    if start is None or end is None:
        return None
    seconds = max(0, round((end - start).total_seconds()))
    return Span(seconds, durations.write(seconds))


def _payload(payload: Any) -> str:
    if payload in (None, "", {}, []):
        return ""
    if isinstance(payload, str):
        payload = _decoded(payload)
    return harmless(json.dumps(payload, indent=2, sort_keys=True, ensure_ascii=False))


def _decoded(text: str) -> Any:
    """Many write JSON into the payload's string."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return found if isinstance(found, dict | list) else text


def _changes(data: PageData) -> ChangesView | None:
    difference = _difference(data)
    url, more = difference.compare_url, difference.more_commits
    diff = _link(url, f"Diff to {line(difference.since_sha[:7])}")
    if not difference.summary and not diff:
        return None
    return ChangesView(
        summary=difference.summary,
        commits=tuple(commit_view(one) for one in difference.new_commits),
        more=Link(web_url(url), f"and {more} more") if more else None,
        diff=diff,
    )


def _difference(data: PageData) -> Difference:
    row, since = data.row, data.lineage.previous_sha
    return Difference(
        repo_url=web_url(row.repo_url),
        sha=row.sha,
        previous_sha=since,
        changelog=changelog_since(row, since),
        ran=ran(row.phase, started=row.run is not None),
        rolls_back=data.lineage.origin == "rollback",
    )


def _entry(entry: TimelineEntry, row: DeploymentRow, current: int) -> EntryView:
    page_or_log = "its page" if entry.state == REQUESTED else "log"
    links = [_link(entry.log_url, page_or_log), _link(entry.environment_url, "environment")]
    label = _entry_label(entry, row)
    if label.kind == "running" and entry.id != current:
        label = label._replace(kind="begun")
    return EntryView(
        id=entry.id,
        label=label,
        at=moment(entry.at),
        description=line(entry.description),
        actor=line(entry.actor) or SOMEBODY,
        links=tuple(link for link in links if link),
        counted=entry.counted,
        # What people requested is no status, and so never late.
        late=not entry.counted and entry.state not in BY_PEOPLE,
        github=sending_to_github(entry),
    )


def _entry_label(entry: TimelineEntry, row: DeploymentRow) -> Label:
    started = row.run is not None
    label = entry_label(entry.state, held=entry.held, started=started, now=row.phase)
    return label._replace(text=line(label.text) or "unknown")
