"""What the page of a deployment offers to whom, and why not the rest."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.slack.notices import RUNNING
from webhook.config.environments import Config
from webhook.deployments.actions import Snapshot, offered_buttons
from webhook.deployments.approvals import Approval
from webhook.deployments.blockers import Blocker
from webhook.deployments.notice import DeploymentNotice, Promotion
from webhook.deployments.phases import Phase
from webhook.slack.actions import ACTIONS
from webhook.startup import parse_config
from webhook.web.pages.deployment.acts import ActsView, Doer, build_acts

DEPLOY_YML = """
envs:
  - name: production
    handler: command
    with: {run: ["true"]}
    review: {enabled: true, reviewers: [ada, bob, octocat], teams: %s}
    break_glass: [Eve, acme/sre]
"""
WAITS = Snapshot(
    phase=Phase.QUEUED,
    ended=False,
    watched=False,
    cancel_requested=False,
    newest=True,
    rollback_target=False,
    waits_for_approval=True,
    overridable=True,
)
ENDED = replace(
    WAITS,
    phase=Phase.SUCCESS,
    ended=True,
    rollback_target=True,
    promotable=True,
    waits_for_approval=False,
    overridable=False,
)


def config_of(teams: str = "[]") -> Config:
    return parse_config(DEPLOY_YML % teams, "deploy.yml", {})


def notice_of(snapshot: Snapshot, *asks: str, **changes: Any) -> DeploymentNotice:
    blocker = Blocker(gate="approval", reason="Waits for approval: 0 of 1", asks=asks)
    notice = replace(RUNNING, **{"blockers": (blocker,), **changes})
    return replace(notice, actions=offered_buttons(ACTIONS.values(), snapshot, notice))


def doer(login: str, user_id: int = 1, *, may_write: bool = True) -> Doer:
    return Doer(login=login, user_id=user_id, may_write=may_write)


def refusals(view: ActsView) -> dict[str, str]:
    return {one.kind: one.refusal or one.condition for one in view.acts}


def test_a_reviewer_answers_and_others_read_who_may() -> None:
    notice = notice_of(WAITS, "ada", "bob")
    ada = build_acts(notice, (), doer("Ada"), config_of())
    assert refusals(ada) == {
        "approve": "",
        "reject": "",
        "cancel": "",
        "override": "For members of acme/sre; GitHub is asked.",
    }
    octocat = refusals(build_acts(notice, (), doer("octocat"), config_of()))
    assert octocat["approve"].startswith("You asked for it yourself")
    assert octocat["reject"] == ""
    eve = refusals(build_acts(notice, (), doer("eve"), config_of()))
    assert eve == {
        "approve": "Not yours: ada, bob may approve it.",
        "reject": "Not yours: ada, bob, octocat may answer.",
        "cancel": "",
        "override": "",
    }


def test_whether_somebody_is_in_a_team_github_says_later() -> None:
    notice = notice_of(WAITS, "acme/sre")
    view = build_acts(notice, (), doer("eve"), config_of("[sre]"))
    assert refusals(view)["approve"] == "Counts if you are in acme/sre; GitHub is asked."
    assert refusals(view)["reject"] == "Counts if you are in acme/sre; GitHub is asked."
    assert not [one.kind for one in view.acts if one.refusal]


def test_nobody_approves_twice() -> None:
    given = Approval(
        id=1,
        deployment_id=RUNNING.deployment_id,
        sha=RUNNING.sha,
        policy="",
        user_id=1,
        login="ada",
        approved=True,
        comment="",
        at=datetime(2026, 3, 1, tzinfo=UTC),
    )
    notice = notice_of(WAITS, "bob")
    assert refusals(build_acts(notice, [given], doer("ada"), config_of()))["approve"] == (
        "You have approved it."
    )
    other = replace(given, deployment_id=6)
    assert (
        "You have" not in refusals(build_acts(notice, [other], doer("ada"), config_of()))["approve"]
    )


def test_forms_send_what_a_press_in_slack_would() -> None:
    to = Promotion(environment="eu/prod", production=True, newest_id=40)
    notice = notice_of(ENDED, rollback_id=5, promotion=to, blockers=())
    acts = {one.kind: one for one in build_acts(notice, (), doer("ada"), config_of()).acts}
    assert dict(acts["rollback"].fields) == {"deployment": "7", "target": "5"}
    assert acts["rollback"].confirmation is not None
    assert "to v1.2 @ 9a8b7c6?" in acts["rollback"].confirmation.text
    assert dict(acts["promote"].fields) == {
        "deployment": "7",
        "target": "40",
        "input.environment": "eu/prod",
    }
    waiting = {
        one.kind: one
        for one in build_acts(notice_of(WAITS, "ada"), (), doer("eve"), config_of()).acts
    }
    override = waiting["override"]
    assert dict(override.fields) == {"deployment": "7", "input.gates": "approval"}
    assert [(one.name, one.required) for one in override.questions] == [("reason", True)]
    assert [(one.name, one.required) for one in waiting["reject"].questions] == [("comment", True)]


@pytest.mark.parametrize("snapshot", [WAITS, ENDED])
def test_who_may_only_read_learns_what_others_can_do(snapshot: Snapshot) -> None:
    to = Promotion(environment="eu", production=True, newest_id=0)
    notice = notice_of(snapshot, promotion=to)
    view = build_acts(notice, (), doer("ada", may_write=False), config_of())
    assert not view.acts
    assert ("Roll back" if snapshot is ENDED else "Approve, Reject, Cancel") in view.note
    assert not build_acts(replace(notice, actions=()), (), doer("ada"), config_of()).shown
