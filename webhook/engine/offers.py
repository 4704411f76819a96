"""What a deployment is to people now, and which actions it offers: the same below its message in
Slack and on its page. Pure: made of its row and of what other rows say of it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypedDict

from handlers import TITLES
from webhook.config.environments import Config, Environment
from webhook.config.routing import route
from webhook.deployments.actions import OfferedAction, Snapshot, offered_buttons, origin_label
from webhook.deployments.automatic import ORIGINS, cause_of
from webhook.deployments.changelog import Changelog
from webhook.deployments.lateness import Lateness, late_by
from webhook.deployments.models import is_production
from webhook.deployments.notice import DeploymentNotice, NoticeApproval, Promotion
from webhook.deployments.phases import FAILED, Phase
from webhook.gates.chains import promoted_to
from webhook.gates.contract import Gates
from webhook.gates.decision import can_skip
from webhook.store.approvals import waits_for_approval
from webhook.store.deployments import DeploymentRow
from webhook.store.notices import Context
from webhook.store.promotions import Next

Actions = Mapping[str, OfferedAction]


def notice_of(
    row: DeploymentRow,
    context: Context,
    *,
    actions: Actions,
    page_of: Callable[[str, int], str],
    changelog: Changelog | None,
    approvals: tuple[NoticeApproval, ...] = (),
) -> DeploymentNotice:
    """Without what it offers. `page_of`: the address of a deployment's page."""
    end = row.ended_at
    start = row.started_at or row.requested_at
    return DeploymentNotice(
        deployment_id=row.id,
        repo=row.repo,
        repo_url=row.repo_url,
        environment=row.environment,
        production=row.production,
        ref=row.shown_ref,
        sha=row.sha,
        task=row.task,
        requested_by=context.login if context.action else row.creator,
        phase=row.phase,
        changed_at=row.phase_at,
        description=row.status_description,
        held=context.held,
        started=row.run is not None,
        recovered=row.phase is Phase.SUCCESS and context.before in FAILED,
        seconds=(end - start).total_seconds() if start and end else None,
        page_url=page_of(row.repo, row.id),
        run_url=row.run.url if row.run else "",
        tool="GitHub Actions" if row.watched else TITLES.get(row.handler, row.handler),
        environment_url=row.environment_url,
        changelog=changelog,
        previous_sha=context.previous_sha,
        **_origin(row, context, actions, page_of),
        actions=(),
        cause=cause_of(context.action),
        rollback_to=_version(context.back_ref, context.back_sha) if context.back_id else "",
        rollback_id=context.back_id,
        approvals=approvals,
        overrides=context.overrides,
        blockers=row.blockers if row.ended_at is None else (),
        superseded_by=row.superseded_by,
        superseded_by_url=page_of(row.repo, row.superseded_by) if row.superseded_by else "",
        late=_late(row),
    )


@dataclass(frozen=True, slots=True)
class Offers:
    """What decides what is offered, besides the deployment."""

    actions: Actions
    config: Config
    gates: Gates

    def added_to(
        self, notice: DeploymentNotice, row: DeploymentRow, context: Context
    ) -> DeploymentNotice:
        """With its buttons. `notice` has its promotion, if there is one."""
        snapshot = self._snapshot(row, context, promotable=notice.promotion is not None)
        return replace(notice, actions=offered_buttons(self.actions.values(), snapshot, notice))

    def _snapshot(self, row: DeploymentRow, context: Context, *, promotable: bool) -> Snapshot:
        return Snapshot(
            phase=row.phase,
            ended=row.ended_at is not None,
            watched=row.watched and not row.waits_for_rule,
            cancel_requested=bool(row.cancel_requested_by),
            newest=context.newest,
            rollback_target=context.back_id != 0,
            waits_for_approval=waits_for_approval(row),
            overridable=row.ended_at is None and self._is_overridable(row),
            promotable=promotable,
            missed=context.missed,
        )

    def _is_overridable(self, row: DeploymentRow) -> bool:
        return bool(may_override(self.config, self.gates, row))


def may_override(config: Config, gates: Gates, row: DeploymentRow) -> Sequence[str]:
    """Who may skip some of the gates that it waits for: logins, and teams."""
    if not any(can_skip(gates, blocker) for blocker in row.blockers):
        return ()
    environment = route(config, row.repo, row.environment)
    return environment.break_glass if environment else ()


def next_environments(config: Config, row: DeploymentRow) -> dict[str, Environment]:
    """Those after its own, to which a success may be promoted."""
    if row.phase is not Phase.SUCCESS:
        return {}
    return {one.name: one for one in promoted_to(config, row.repo, row.environment)}


def first_without(sha: str, there: Sequence[Next]) -> Next | None:
    """That does not have the commit, and does not get it by itself."""
    lacking = (one for one in there if sha not in (one.newest_sha, one.live_sha))
    return next((one for one in lacking if not one.promised), None)


def promotion_to(there: Next, environment: Environment, changes: str) -> Promotion:
    return Promotion(
        environment=there.environment,
        production=is_production(there.environment, environment.production_environment),
        newest_id=there.newest_id,
        live=_version(there.live_ref, there.live_sha),
        changes=changes,
    )


class _Origin(TypedDict):
    origin: str
    origin_url: str
    origin_label: str


def _origin(
    row: DeploymentRow, context: Context, actions: Actions, page_of: Callable[[str, int], str]
) -> _Origin:
    if not context.origin_id:
        return {"origin": "", "origin_url": "", "origin_label": ""}
    action = actions.get(context.action)
    origin = action.origin if action else ORIGINS.get(context.action, "")
    return {
        "origin": context.action,
        "origin_url": page_of(context.origin_repo or row.repo, context.origin_id),
        "origin_label": origin_label(origin, context.origin_environment),
    }


def _version(ref: str, sha: str) -> str:
    return sha[:7] if ref == sha else f"{ref} @ {sha[:7]}"


def _late(row: DeploymentRow) -> str:
    """Of one that was run all the same."""
    if row.lateness is not Lateness.LATE or row.requested_at is None:
        return ""
    return f"arrived {late_by(row.requested_at - row.created_at)} late"
