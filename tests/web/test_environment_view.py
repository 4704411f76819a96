"""What an environment's page is made of, by rows of the store: pure data in, pure data out."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from handlers.contract import Run, State
from webhook.config.environments import Config
from webhook.deployments.changelog import Changelog, Commit
from webhook.deployments.explanation import Explanation, Row, Section
from webhook.deployments.models import GitHubDeployment, Repository
from webhook.deployments.phases import Phase
from webhook.deployments.queue import Queued
from webhook.gates import GATES
from webhook.gates.contract import Upstream
from webhook.logs import Redactor
from webhook.store.deployments import DeploymentRow, new_row
from webhook.store.environment_history import History, PastDeployment
from webhook.store.lineage import Lineage
from webhook.store.locks import LockRow
from webhook.store.promotions import Next
from webhook.store.repositories import KnownRepository
from webhook.web.pages.environment.data import Chain, EnvironmentData, Where
from webhook.web.pages.environment.page import EnvironmentView, build_environment
from webhook.web.pages.environment.preview import Preview
from webhook.web.pages.environment.preview_page import build_preview, build_roll_back

NOW = datetime(2026, 3, 18, 10, 0, tzinfo=UTC)
OLD, NEW = "a" * 40, "b" * 40
SITE = "https://github.test/acme/site"
WHERE = Where(KnownRepository(1, "acme/site", 7), "production", ("acme/site",), None)


def row(number: int = 1, sha: str = NEW, **columns: Any) -> DeploymentRow:
    described = GitHubDeployment(
        id=number,
        environment="production",
        ref="main",
        sha=sha,
        task="deploy",
        created_at=NOW,
        creator="octocat",
    )
    made = new_row(described, Repository(1, "acme/site", SITE), 7)
    columns = {"phase": Phase.SUCCESS, "requested_at": NOW, "ended_at": NOW, **columns}
    return replace(made, **columns)


def data(**given: Any) -> EnvironmentData:
    nothing: dict[str, Any] = {
        "where": WHERE,
        "live": None,
        "live_lineage": Lineage(),
        "newest": None,
        "back": None,
        "history": History((), 0),
        "queue": (),
        "waiting": (),
        "locks": (),
        "chain": Chain(),
        "policy": None,
        "file_read": None,
        "lock_error": "",
    }
    return EnvironmentData(**{**nothing, **given})


def view(**given: Any) -> EnvironmentView:
    login = given.pop("login", "octocat")
    return build_environment(data(**given), NOW, Config(()), GATES, Redactor(()), login=login)


def lock(owner: str, **columns: Any) -> LockRow:
    values: dict[str, Any] = {
        "id": 1,
        "repo_id": 1,
        "repo": "acme/site",
        "environment": "production",
        "owner": owner,
        "reason": "disk\nfull",
        "lets": (),
        "created_at": NOW,
        "expires_at": None,
        "source": "page",
        "ended_at": None,
        "ended_by": "",
        "ended_how": "",
    }
    return LockRow(**{**values, **columns})


def test_of_an_environment_without_deployments_nothing_is_there() -> None:
    page = view()
    assert (page.there, page.newest, page.back, page.routed) == (None, None, "", False)
    assert page.production


def test_what_is_there_is_the_last_success_and_what_failed_after_it_stands_beside() -> None:
    live = row(1, OLD, environment_url="javascript:alert(1)", run=Run("1", State.SUCCESS, SITE))
    failed = row(2, phase=Phase.FAILURE, status_description="exit 3", run=live.run)
    page = view(live=live, newest=failed, back=live, live_lineage=Lineage(login="mona"))
    assert page.there
    assert page.newest
    assert (page.there.who, page.there.sha.text) == ("mona", "aaaaaaa")
    assert page.there.address is None
    assert page.there.run
    assert (page.newest.label.kind, page.newest.status) == ("bad", "exit 3")
    assert (page.tone, page.back) == ("bad", "main @ aaaaaaa")


def test_nothing_that_runs_or_that_a_workflow_deploys_is_rolled_back() -> None:
    old = row(1, OLD)
    running = row(2, phase=Phase.IN_PROGRESS, ended_at=None)
    watched = row(2, watched=True)
    for newest in (running, watched):
        assert not view(live=old, newest=newest, back=old).back
        assert build_roll_back(newest, old).refusal
    assert view(live=old, newest=row(2), back=old).back == "main @ aaaaaaa"
    assert not build_roll_back(row(2), old).refusal


def test_a_row_of_the_history_says_how_long_what_changed_and_how_to_return() -> None:
    past = PastDeployment(
        id=1,
        repo="acme/site",
        repo_url=SITE,
        phase=Phase.SUCCESS,
        started=True,
        held=False,
        blocked=False,
        succeeded=True,
        ref="main",
        ref_name="",
        sha=OLD,
        who="mona",
        at=NOW,
        started_at=NOW,
        ended_at=NOW + timedelta(seconds=95),
        total=3,
        behind=1,
        description="Finished",
    )
    failed = replace(past, id=3, sha=NEW, phase=Phase.FAILURE, succeeded=False, total=None)
    same = replace(past, id=2, total=0, behind=0, sha=NEW)
    page = view(newest=row(3, NEW), history=History((failed, same, past), 0))
    first, second, third = page.history
    assert (first.took, first.changes, first.description) == ("1m35s", "", "Finished")
    assert (second.changes, second.description, second.back_to) == ("the same commit", "", "")
    assert third.changes == "3 commits and goes back 1 commit"
    assert third.back_to == "/environments/-/roll-back/acme/site/production?to=1"
    assert first.back_to == ""


def test_each_lock_says_whose_it_is_and_how_it_ends() -> None:
    stop = lock("boss", id=2, repo_id=0, environment="*", lets=("rollbacks",))
    page = view(locks=(lock("Octocat"), stop))
    own, other = page.locks
    assert (own.own, own.lock.reason) == (True, "disk full")
    assert own.fields == {"repo": "acme/site", "environment": "production"}
    assert (other.own, other.stop, other.lock.scope) == (False, True, "Everything")
    assert (other.fields, other.lock.lets) == ({}, "rollbacks")
    assert (page.locked_by, page.own_lock) == ("Octocat", True)
    assert not view(locks=(lock("Octocat"),), login="").own_lock


def test_a_chain_offers_what_the_environment_before_has_and_this_one_has_not() -> None:
    here = Next(
        environment="production",
        newest_id=5,
        newest_sha=OLD,
        live_sha=OLD,
        live_ref="main",
        promised=False,
    )
    upstream = Upstream(environment="staging", id=9, sha=NEW, phase=Phase.SUCCESS, ended_at=NOW)
    where = replace(WHERE, listed=object())  # type: ignore[arg-type]
    live = row(5, OLD)
    [before] = view(where=where, live=live, newest=live, chain=Chain((upstream,), here)).before
    assert before.promote == {"deployment": "9", "target": "5", "input.environment": "production"}
    assert before.diff
    assert before.diff.url == f"{SITE}/compare/{OLD}...{NEW}"
    failed = replace(upstream, phase=Phase.FAILURE)
    [before] = view(where=where, live=live, chain=Chain((failed,), here)).before
    assert (before.promote, before.state) == ({}, "it has failed")
    same = replace(upstream, sha=OLD)
    [before] = view(where=where, live=live, chain=Chain((same,), here)).before
    assert (before.promote, before.same) == ({}, True)


def test_the_queue_has_positions() -> None:
    queued = Queued(
        deployment_id=4,
        repo="acme/site",
        environment="production",
        ref="main",
        sha=NEW,
        running=False,
        position=2,
        total=12,
    )
    page = view(queue=(queued,))
    assert (page.queue[0].position, page.waiting) == ("2nd of 12", 12)
    assert page.queue[0].deployment.url == "/deployments/acme/site/4"


def explanation(*cells: dict[str, str]) -> Explanation:
    columns = {"gate": "gate", "verdict": "verdict", "until": "until", "reason": "reason"}
    rows = tuple(map(Row, cells))
    section = Section(name="gates", title="Gates", columns=columns, rows=rows)
    return Explanation(heading="x", sections=(section,))


def test_a_preview_counts_what_comes_and_what_is_taken_back() -> None:
    commit = Commit(NEW, "One\x1b[31m", "mona", f"{SITE}/commit/{NEW}")
    changes = Changelog(OLD, 3, 1, (commit,))
    allows = {"gate": "freeze", "verdict": "allows", "until": "", "reason": ""}
    waits = {"gate": "lock", "verdict": "waits", "until": "10:00 UTC", "reason": "Locked"}
    found = Preview(ref="main", sha=NEW, changes=changes, explanation=explanation(allows))
    shown = build_preview(found, SITE, OLD)
    assert shown.changes
    assert shown.changes.summary == "Deploys 3 commits and goes back 1 commit"
    assert shown.changes.more
    assert shown.changes.more.text == "and 2 more"
    assert "\x1b" not in shown.changes.commits[0].title
    assert (shown.passes, shown.gates, shown.same) == (True, (), False)
    held = replace(found, explanation=explanation(allows, waits))
    back = build_preview(held, SITE, OLD, taken_back=True)
    assert back.changes
    assert back.changes.summary == "Takes back 3 commits, and brings 1 commit back"
    assert [one.gate for one in back.gates] == ["lock"]
    assert not back.passes
    assert build_preview(found, SITE, NEW).same
