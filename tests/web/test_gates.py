"""The page of a deployment that waits: for what, until when, who can end it, and who comes next."""

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from flask.testing import FlaskClient

from tests.web.viewing import REQUESTED_AT, SHA, Event, Rows, Stream, open_page, served
from webhook.deployments.blockers import Blocker
from webhook.deployments.phases import Phase

LOCKED = Blocker(
    gate="lock",
    reason="Locked by <ada>: the\ndatabase",
    until=datetime(2026, 3, 2, 5, 0, tzinfo=UTC),
    way_out="Whoever may write unlocks it",
)
TURN = Blocker(gate="serialization", reason="Waits for deployment 2 (main) to end")
REQUESTED: dict[str, Any] = {"requested_at": REQUESTED_AT, "phase": Phase.QUEUED}


def execute(rows: Rows, statement: str, *values: Any) -> None:
    with psycopg.connect(rows.url) as connection:
        connection.execute(statement, values)


def lock(rows: Rows, environment: str, reason: str, **given: Any) -> None:
    values = {
        "repo_id": 0,
        "repo": "",
        "environment": environment,
        "owner": "ada",
        "reason": reason,
        "source": "slack",
        "expires_at": None,
        "lets": [],
        **given,
    }
    names, placeholders = ", ".join(values), ", ".join("%s" for _ in values)
    execute(rows, f"insert into locks ({names}) values ({placeholders})", *values.values())


def approve(rows: Rows, deployment_id: int, login: str, approved: bool, comment: str) -> None:
    execute(
        rows,
        "insert into approvals (deployment_id, repo_id, environment, sha, policy, user_id, login,"
        " approved, comment, source, at)"
        " values (%s, 1, 'staging', %s, '1', %s, %s, %s, %s, 'slack', %s)",
        *(deployment_id, SHA, deployment_id, login, approved, comment, REQUESTED_AT),
    )


def test_all_blockers_the_queue_locks_answers_and_overrides(
    rows: Rows, browser: FlaskClient
) -> None:
    for deployment_id in (1, 2, 3, 4):
        rows.deployment(deployment_id, environment="Staging" if deployment_id == 3 else "staging")
        rows.change(deployment_id, **REQUESTED)
    rows.deployment(5, environment="elsewhere")
    rows.change(5, **REQUESTED)
    rows.change(2, started_at=REQUESTED_AT, phase=Phase.IN_PROGRESS)
    rows.change(4, ended_at=REQUESTED_AT, phase=Phase.SUPERSEDED)
    rows.change(1, blockers=(LOCKED, TURN), status_description="in 140 characters")
    until = datetime.now(UTC) + timedelta(hours=1)
    lock(rows, "STAG*", "a move", expires_at=until, lets=["owner", "rollbacks"])
    lock(rows, "production", "another")
    lock(rows, "*", "expired", repo_id=1, expires_at=datetime.now(UTC))
    approve(rows, 1, "bob", True, "looks <good>")
    approve(rows, 2, "eve", False, "")
    execute(
        rows,
        "insert into overrides (deployment_id, gates, login, reason, source, expires_at)"
        " values (1, '{lock,freeze}', 'ada', 'all is down', 'slack', %s)",
        until,
    )
    page = open_page(browser)
    assert page.text.startswith("On hold: acme/web to staging")
    text = page.text
    assert (
        "Why it waits Locked by <ada>: the database Until Mon 02 Mar 2026, 05:00 UTC"
        " Whoever may write unlocks it Waits for deployment 2 (main) to end No known end"
    ) in text
    assert (
        "Running deployment 2 main @ 3f9c1d2 1 of 2 deployment 3 main @ 3f9c1d2"
        " 2 of 2 deployment 1 (this one)"
    ).replace("1 of", "1st of").replace("2 of", "2nd of") in text
    assert "STAG* of all repositories is locked by ada since" in text
    assert "a move" in text
    assert "lets ada and rollbacks through; unlock '*' STAG* at the relay's command line" in text
    assert "another" not in text
    assert "expired" not in text
    assert "Approved by bob, 01 Mar, 12:00:00 UTC: looks <good>" in text
    assert "Rejected by eve, 01 Mar, 12:00:00 UTC, for deployment 2 of the same commit" in text
    assert "ada skipped lock, freeze" in text
    assert "in 140 characters" not in text
    assert any("/deployments/acme/web/3?key=" in link for link in page.links())


def test_who_does_not_wait_has_no_such_section(rows: Rows, browser: FlaskClient) -> None:
    rows.deployment()
    rows.change(1, **REQUESTED)
    assert "Queue of this" not in open_page(browser).text
    rows.change(blockers=(TURN,), ended_at=REQUESTED_AT, phase=Phase.ERROR)
    assert "Why it waits" not in open_page(browser).text


def test_a_superseded_one_links_to_the_newer_one(rows: Rows, browser: FlaskClient) -> None:
    rows.deployment()
    rows.change(
        1, **{**REQUESTED, "phase": Phase.SUPERSEDED}, ended_at=REQUESTED_AT, superseded_by=8
    )
    rows.new_entry(state="inactive", description="Superseded by deployment 8")
    page = open_page(browser)
    assert page.text.startswith("Superseded: acme/web to staging")
    assert "It never started: while it waited" in page.text
    assert "Superseded by deployment 8" in page.text
    assert any("/deployments/acme/web/8?key=" in link for link in page.links())
    assert "Took" not in page.text


def shows_gates(event: Event) -> bool:
    """How long it has waited may change by itself."""
    return event.name == "state" and "gates" in event.data["parts"]


def test_an_open_page_shows_what_changes_meanwhile(rows: Rows, store_url: str) -> None:
    rows.deployment()
    rows.change(1, **REQUESTED, blockers=(TURN,))
    with served(store_url) as base:
        stream = Stream(base)
        stream.until(shows_gates)
        lock(rows, "staging", "the database moves")
        [*_, changed] = stream.until(shows_gates)
        assert "the database moves" in changed.data["parts"]["gates"]
        rows.deployment(2)
        rows.change(2, **REQUESTED)
        [*_, changed] = stream.until(shows_gates)
        assert "2nd of 2" in changed.data["parts"]["gates"]
        rows.change(blockers=(TURN, LOCKED))
        [*_, changed] = stream.until(shows_gates)
        assert "Locked by &lt;ada&gt;" in changed.data["parts"]["gates"]
        stream.close()
