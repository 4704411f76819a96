"""Break-glass: somebody whom deploy.yml names skips the gates that a deployment waits for.

What is skipped is named: the gates that block it at that moment, of the form those that it showed.
Nothing else becomes easier: the person must be known and may write to the repository as for every
action, what a gate has refused stays refused, and the commit stays the one that was asked for.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from slack_sdk.models.blocks import PlainTextObject
from slack_sdk.models.views import View

from webhook.config.environments import Config, Environment
from webhook.deployments.actions import ActionRequest, Reply, Snapshot, request_key
from webhook.deployments.blockers import Blocker, end_of
from webhook.deployments.notice import Button, DeploymentNotice, Question
from webhook.engine.policy import as_asked_last, kept_policy
from webhook.gates.decision import can_skip, decide
from webhook.slack.actions.contract import Action, StoreAction
from webhook.slack.actions.forms import (
    AboutDeployment,
    metadata,
    open_form,
    text_field,
    wrong_fields,
)
from webhook.slack.actions.membership import is_among
from webhook.slack.actions.payloads import Parsed, Text, ViewSubmission, read
from webhook.slack.actions.permissions import Authorized, Declined, routed
from webhook.slack.actions.services import ActionServices
from webhook.slack.actions.typed import (
    Mistyped,
    Typed,
    environment_error,
    repo_error,
    require,
    spelling,
    visible,
)
from webhook.slack.blocks.mrkdwn import BlockMessage, bold, escape, section
from webhook.store import (
    actions,
    audit,
    deployments,
    gates,
    open_deployments,
    overrides,
    schedule,
    timeline,
)
from webhook.store.actions import ActionRow
from webhook.store.audit import NewAct
from webhook.store.database import Async
from webhook.store.deployments import DeploymentRow
from webhook.store.overrides import NewOverride
from webhook.text import and_more, length_error

FORM, REASON = "override_form", "reason"
LONGEST_REASON = 500
# An input: names of the gates that its person has seen.
GATES = "gates"
_QUESTION = Question(name=REASON, label="Reason", hint="Why it cannot wait", longest=LONGEST_REASON)
_USAGE = "override owner/repo environment reason…"


class Override(StoreAction):
    name = "override"
    verb = "override"
    usage = (_USAGE, "skips the gates that the newest deployment there waits for, for half an hour")
    noun = "an override"
    entry_state = timeline.OVERRIDDEN

    def typed(self, command: str, arguments: Sequence[str], config: Config) -> Typed:
        if len(arguments) < 2:
            raise Mistyped(f"Name a repository and an environment: `{command} {_USAGE}`")
        repo, environment, *words = arguments
        reason = " ".join(words).strip()
        require(
            repo_error(repo), environment_error(config, repo, environment), _reason_error(reason)
        )
        where = spelling(config, repo, environment)
        return Typed(self.name, repo, where, inputs=((REASON, reason),))

    async def authorize(self, services: ActionServices, action: ActionRow) -> Authorized:
        _require_reason(action)
        by = await super().authorize(services, action)
        repo, where = by.repository.repo, action.environment
        listed = routed(services, repo, where).break_glass
        if not listed:
            message = f"Nobody may override the gates of {where}"
            raise Declined("lacks_permission", f"{message}: deploy.yml has no break_glass for it")
        logins = [one for one in listed if "/" not in one]
        teams = [one for one in listed if "/" in one]
        if not await is_among(services, by, logins, teams):
            message = f"{by.login} may not override the gates of {where}"
            names = and_more(listed, limit=400)
            raise Declined("lacks_permission", f"{message}; its break_glass has {names}")
        return by

    async def perform(
        self, services: ActionServices, connection: Async, action: ActionRow, by: Authorized
    ) -> str:
        row = await _waiting(connection, action, by)
        environment = routed(services, row.repo, row.environment)
        blockers = await _blockers(services, connection, row, environment)
        chosen = _chosen(services, row, blockers, action)
        now, reason = services.clock(), _reason_of(action)
        override = NewOverride(
            deployment_id=row.id,
            gates=chosen,
            login=by.login,
            reason=reason,
            source=action.audit_source,
            at=now,
            expires_at=now + services.timing.override_lasts,
        )
        await overrides.add(connection, override)
        await actions.set_deployment(connection, action.id, row.id)
        await audit.add(connection, _act(action, row, override))
        await schedule.request(connection, [schedule.Key("advance", row.id)])
        minutes = int(services.timing.override_lasts.total_seconds() / 60)
        skipped = and_more(chosen)
        return f"{by.login} overrides {skipped} for {minutes} minutes: {reason}"


async def _waiting(connection: Async, action: ActionRow, by: Authorized) -> DeploymentRow:
    """The one whose button was pressed, else the newest there; locked."""
    found = [by.deployment.id] if by.deployment else []
    if by.deployment is None:
        found = await open_deployments.waiting_in(
            connection, by.repository.repo_id, action.environment
        )
    row = await deployments.read(connection, found[0], lock=True) if found else None
    if row is None:
        message = f"Nothing waits for a gate in {action.environment} of {by.repository.repo}"
        advice = "create the deployment first, then override"
        raise Declined("not_possible", f"{message}; {advice}")
    if row.ended_at is not None:
        raise Declined("not_possible", f"Deployment {row.id} has ended: it is '{row.phase}'")
    if not row.blockers:
        raise Declined("not_possible", f"Deployment {row.id} waits for no gate any more")
    return row


async def _blockers(
    services: ActionServices, connection: Async, row: DeploymentRow, environment: Environment
) -> Sequence[Blocker]:
    """As they are now, which may be others than those that were announced."""
    kept = await kept_policy(services, connection, row, environment)
    policy = as_asked_last(kept, row)
    situation = await gates.read(connection, row.id, policy, services.clock())
    if situation is None:
        return ()
    return decide(situation.snapshot, services.gates, skipped=situation.skipped).blockers


def _chosen(
    services: ActionServices, row: DeploymentRow, blockers: Sequence[Blocker], action: ActionRow
) -> tuple[str, ...]:
    """Names of gates. Of the form those that its person has seen, or none has consented."""
    shown = action.inputs.get(GATES)
    can = [one.gate for one in blockers if can_skip(services.gates, one)]
    chosen = tuple(one for one in can if shown is None or one in shown.split())
    if chosen:
        return chosen
    if can:
        message = f"Deployment {row.id} waits for something else now: {', '.join(can)}"
        raise Declined("not_possible", f"{message}; press Override again")
    reasons = "; ".join(one.reason for one in blockers)
    if not reasons:
        raise Declined("not_possible", f"Nothing blocks deployment {row.id} any more")
    message = f"Nobody can override what deployment {row.id} waits for"
    raise Declined("not_possible", f"{message}: {reasons}")


def _act(action: ActionRow, row: DeploymentRow, override: NewOverride) -> NewAct:
    return NewAct(
        actor=override.login,
        source=action.audit_source,
        action=Override.name,
        repo_id=row.repo_id,
        repo=row.repo,
        environment=row.environment,
        deployment_id=row.id,
        action_id=action.id,
        reason=override.reason,
        details={
            "gates": list(override.gates),
            "until": override.expires_at.isoformat(),
            "sha": row.sha,
        },
    )


class OpenOverrideForm(Action):
    """The button. Anybody may open the form, which shows nothing that the message does not; who
    may is checked when it is submitted."""

    name = "open_override"
    label = "Override…"
    style = "danger"
    opens_form = True
    audited = False
    on_page = False

    def offered(self, deployment: Snapshot) -> bool:
        return deployment.overridable

    def button(self, notice: DeploymentNotice) -> Button:
        waits = (one.gate for one in notice.blockers if not one.denies)
        return replace(
            super().button(notice),
            questions=(_QUESTION,),
            inputs=((GATES, " ".join(dict.fromkeys(waits))),),
            fills=Override.name,
        )

    async def run(self, services: ActionServices, action: ActionRow) -> None:
        row = await services.read(action.deployment_id) if action.deployment_id else None
        if row is None:
            message = "The relay does not know this deployment any more"
            raise Declined("unknown_deployment", message)
        shown = [one for one in row.blockers if can_skip(services.gates, one)]
        if row.ended_at is not None or not shown:
            message = f"Deployment {row.id} waits for no gate that can be overridden any more"
            raise Declined("not_possible", message)
        without = f"type it instead: /deploy override {row.repo} {row.environment} reason…"
        view = _form(row, shown, action, services.clock())
        await open_form(services, action, view, without=without)

    async def reply(self, services: ActionServices, action: ActionRow) -> BlockMessage | None:
        return None if action.outcome == "done" else await super().reply(services, action)


class _Metadata(AboutDeployment):
    """`gates`: those that the form shows."""

    gates: Text = ""


def _form(row: DeploymentRow, shown: Sequence[Blocker], action: ActionRow, now: datetime) -> View:
    where = f"{escape(row.repo, 140)} to {bold(escape(row.environment, 140))}"
    lines = [f"• {bold(one.gate)}: {escape(_line(one, now), 300)}" for one in shown]
    gates = " ".join(one.gate for one in shown)
    ref = "" if row.shown_ref == row.sha else f"{escape(row.shown_ref, 60)} @ "
    commit = f"{ref}{row.sha[:7]}"
    return View(
        type="modal",
        callback_id=FORM,
        title=PlainTextObject(text="Override gates"),
        submit=PlainTextObject(text="Override"),
        close=PlainTextObject(text="Keep waiting"),
        private_metadata=metadata(action, deployment=row.id, gates=gates),
        blocks=[
            section(f"Deploy {commit} of {where}, although:\n" + "\n".join(lines)),
            section("Everybody in the channel sees it, and the audit keeps it."),
            text_field(
                _QUESTION.name, _QUESTION.label, _QUESTION.hint, _QUESTION.longest, lines=True
            ),
        ],
    )


def _line(one: Blocker, now: datetime) -> str:
    return f"{one.reason} ({end_of(one, now)})"


def parse_override(payload: Mapping[str, Any], config: Config, now: datetime) -> Parsed:
    """The form, filled in."""
    submission = read(ViewSubmission, payload)
    view = submission.view
    reason = _on_one_line(view.field(REASON))
    if error := _reason_error(reason):
        return wrong_fields({REASON: error})
    opened = _Metadata.of(view.private_metadata)
    if opened.is_late(now):
        return wrong_fields({REASON: "This form was open for too long; press Override again"})
    who = submission.requester
    return ActionRequest(
        key=request_key("form", who.team, who.user, view.id or submission.trigger_id),
        kind=Override.name,
        requester=who,
        reply=Reply(opened.url),
        deployment_id=opened.deployment,
        inputs={REASON: reason, GATES: opened.gates},
    )


def _reason_error(reason: str) -> str:
    if not reason:
        return f"Say why it cannot wait: /deploy {_USAGE}"
    return length_error("reason", reason, LONGEST_REASON)


def _on_one_line(reason: str) -> str:
    return " ".join(visible(reason).split())


def _reason_of(action: ActionRow) -> str:
    return _on_one_line(action.inputs.get(REASON, ""))


def _require_reason(action: ActionRow) -> None:
    """A page has not checked it."""
    reason = _reason_of(action)
    if not reason:
        message = "Nothing was overridden: say why it cannot wait, which the audit keeps"
        raise Declined("not_possible", message)
    if error := length_error("reason", reason, LONGEST_REASON):
        raise Declined("not_possible", error)
