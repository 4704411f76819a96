"""The parts of which a simulation is made: routes, gates, calls of tools, messages.

Each is what the function says that would do it (see `webhook.engine.simulate`).
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import unquote, unquote_plus, urlsplit

from handlers.contract import Previews
from handlers.preview import CommandPreview, HttpPreview
from webhook.config.destinations import targets_of
from webhook.config.environments import Environment
from webhook.config.routing import matches_any, route
from webhook.deployments.blockers import Blocker
from webhook.deployments.notice import DeploymentNotice
from webhook.deployments.simulation import (
    SimulatedCall,
    SimulatedGate,
    SimulatedMessage,
    SimulatedRoute,
    SimulatedStatus,
    Simulation,
)
from webhook.engine import transitions
from webhook.engine.notify import Notification, build_notice
from webhook.engine.policy import FilePolicy, kept_policy
from webhook.engine.services import Services, scope
from webhook.engine.transitions import Transition
from webhook.gates.contract import Policy
from webhook.gates.repository_file import tightens
from webhook.github.events import (
    DeploymentCreated,
)
from webhook.logs import HIDDEN, hidden
from webhook.notifiers.contract import Shows
from webhook.store import deployments, gates, notices, repository_names
from webhook.store.database import Async
from webhook.store.deployments import DeploymentRow
from webhook.store.notices import News
from webhook.store.repository_files import HEAD
from webhook.store.timeline import NewEntry
from webhook.text import one_line

LONGEST = 300


@dataclass(frozen=True, slots=True)
class Simulated:
    """One delivery. `start`: what is known of it so far."""

    services: Services
    connection: Async
    start: Simulation

    def ended(self, outcome: str, reason: str) -> Simulation:
        return replace(self.start, outcome=outcome, reason=reason)

    def route_of(self, repo: str, name: str) -> SimulatedRoute:
        config = self.services.config
        environment = route(config, repo, name)
        known = (env.name for env in config.envs if matches_any(env.repos, repo))
        lines = config.lines_of(environment) if environment else {}
        return SimulatedRoute(
            asked=one_line(name, 140),
            environment=environment.name if environment else "",
            source=config.source,
            line=lines.get("name", 0),
            handler=environment.handler if environment else "",
            known=tuple(dict.fromkeys(known)),
        )

    async def row_of(self, event: DeploymentCreated) -> tuple[DeploymentRow, DeploymentRow | None]:
        """As it would be at first; and as it is in the store. Statuses that came before its request
        count."""
        known = await deployments.read(self.connection, event.deployment.id)
        if known is not None and known.requested_at is None:
            return known, known
        repository = await repository_names.known(
            self.connection, event.repository, event.deployment.created_at
        )
        new = deployments.new_row(event.deployment, repository, event.installation_id)
        if known is not None:
            new = replace(new, changelog=known.changelog, ref_name=known.ref_name)
        return new, known

    def known(self, row: DeploymentRow | None) -> dict[str, Any]:
        if row is None or row.requested_at is None:
            return {}
        says = f": {row.status_description}" if row.status_description else ""
        text = f"The relay has deployment {row.id} already: it is {row.phase}{says}"
        again = "Delivered again, it is ignored, as it was requested before"
        return {"known": one_line(f"{text}. {again}", LONGEST * 2)}

    async def policy_of(
        self, row: DeploymentRow, environment: Environment
    ) -> tuple[FilePolicy, tuple[str, ...]]:
        """By the kept file of the repository, and what is to be said of that."""
        if not tightens(environment):
            return FilePolicy(environment), ()
        situation = await gates.imagine(
            self.connection, row, Policy(environment), self.services.clock()
        )
        policy = await kept_policy(
            self.services,
            self.connection,
            row,
            environment,
            rollback=situation.snapshot.candidate.rolls_back,
        )
        head = policy.kept.get(HEAD)
        if head is None:
            text = "The repository's own deploy.yml was never read: GitHub is asked for it first"
        else:
            text = f"The repository's own deploy.yml counts as it was at {head.read_at:%F %T} UTC"
        return policy, (text,)

    def entry(self, row: DeploymentRow, transition: Transition | None = None) -> NewEntry:
        held = transition.held if transition else False
        before = transition.asked_before if transition else False
        return transitions.own_entry(row, held=held, asked_before=before)

    def gates_of(self, blockers: Sequence[Blocker]) -> tuple[SimulatedGate, ...]:
        held = {one.gate for one in blockers}
        verdicts = [
            SimulatedGate(
                gate=one.gate,
                verdict="refuses" if one.denies else "waits",
                until=one.until,
                reason=shown(self.services, one.reason),
                way_out=shown(self.services, one.way_out),
            )
            for one in blockers
        ]
        names = (name for name in self.services.gates if name not in held)
        return (*verdicts, *(SimulatedGate(gate=name, verdict="allows") for name in names))

    # -- its tool -----------------------------------------------------------------------------

    def calls_of(self, row: DeploymentRow, environment: Environment) -> dict[str, Any]:
        """Errors: those of a handler, with which the deployment would end."""
        handler = self.services.handler(environment)
        if not isinstance(handler, Previews):
            return {"notes": (f"{environment.handler} does not say what it would send",)}
        deployment = self.services.as_contract(row, environment)
        report = replace(deployment.report, token=HIDDEN)
        preview = handler.preview(replace(deployment, report=report))
        calls = tuple(self._call(one, row) for one in preview.calls)
        return {"calls": calls, "notes": tuple(shown(self.services, n) for n in preview.notes)}

    def _call(self, one: HttpPreview | CommandPreview, row: DeploymentRow) -> SimulatedCall:
        if isinstance(one, CommandPreview):
            return SimulatedCall(headers={}, argv=one.argv, cwd=one.cwd, variables=one.variables)
        url = one.url
        if url.startswith("/"):
            url = f"{self.services.github.api_url}{scope(row).address(url)}"
        return SimulatedCall(
            method=one.method,
            url=_hidden_in_url(self.services, url),
            headers=dict(one.headers),
            hidden=one.hidden,
            body=_hidden_in(self.services, one.body),
        )

    # -- who hears of it ----------------------------------------------------------------------

    async def notified(
        self,
        done: Simulation,
        row: DeploymentRow,
        entries: Sequence[NewEntry],
        transition: Transition | None = None,
    ) -> Simulation:
        services = self.services
        # So that nobody asks GitHub what has changed since the last success.
        services.comparisons.failed[row.repo_id] = True
        context = await notices.imagine(self.connection, row)
        held = transition.held if transition else False
        context = replace(context, held=held, news=[_news(services, e) for e in entries])
        notice = _without_keys(await build_notice(services, row, context))
        found = [
            message
            for target in await services.targets(self.connection, row)
            for message in self._messages(
                Notification(services, row, target, services.notifier(target), notice, context)
            )
        ]
        unknown = (*done.unknown, *self._silent(row))
        return replace(done, messages=tuple(found), unknown=unknown, phase=row.phase.value)

    def _messages(self, notification: Notification) -> Iterator[SimulatedMessage]:
        """Those of one destination; without one, when it would get one."""
        target, notifier = notification.target, notification.notifier
        messages = list(notification.foreseen())
        for message in messages:
            text = notifier.shown(message) if isinstance(notifier, Shows) else ""
            yield SimulatedMessage(
                destination=target.name,
                notifier=notifier.title,
                purpose=message.purpose,
                when="now",
                text=text,
            )
        if not messages:
            phase = notification.row.phase
            yield SimulatedMessage(
                destination=target.name,
                notifier=notifier.title,
                purpose="main" if target.main else "alert",
                when=f"not while it is {phase}" if target.main else "if it fails",
            )

    def _silent(self, row: DeploymentRow) -> Iterator[str]:
        """Destinations of which the settings let nobody hear."""
        environment = route(self.services.config, row.repo, row.environment)
        targets = targets_of(environment.destinations(), row.repo) if environment else []
        names = [one.name for one in targets if one.notifier not in self.services.notifiers]
        if names:
            yield f"{', '.join(names)} hear nothing: the settings name no Slack app"


def status_of(entry: NewEntry) -> SimulatedStatus:
    return SimulatedStatus(state=entry.state, description=one_line(entry.description))


def _without_keys(notice: DeploymentNotice) -> DeploymentNotice:
    """Whoever has the key of a page may read it."""
    urls = (notice.page_url, notice.origin_url, notice.superseded_by_url)
    page, origin, newer = (url.partition("?")[0] for url in urls)
    return replace(notice, page_url=page, origin_url=origin, superseded_by_url=newer)


def _news(services: Services, entry: NewEntry) -> News:
    return News(
        position=0,
        at=services.clock(),
        actor=entry.actor,
        state=entry.state,
        description=entry.description,
        log_url=entry.log_url,
        held=entry.held,
        asked_before=entry.asked_before,
    )


def shown(services: Services, text: str) -> str:
    return one_line(services.redactor.text(text), LONGEST)


def _hidden_in_url(services: Services, url: str) -> str:
    """A secret is encoded there as its place demands, and found where the address is decoded; one
    that is still found then hides all but the host."""
    hide = services.redactor.text
    decoded = unquote(url)
    shown = hide(decoded) if hide(decoded) != decoded else hide(url)
    if any(hide(form) != form for form in (unquote(shown), unquote_plus(shown))):
        parts = urlsplit(url)
        return hide(f"{parts.scheme}://{parts.netloc}/ (the rest is hidden)")
    return shown


def _hidden_in(services: Services, body: bytes | None) -> Any:
    """As JSON where it is: secrets may be spelled in another way there."""
    if body is None:
        return None
    text = body.decode(errors="replace")
    try:
        document = json.loads(text)
    except ValueError:
        return services.redactor.text(text)
    return hidden(document, services.redactor)
