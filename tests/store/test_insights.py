"""What each figure counts, by worked examples; some are what other tools are known to get wrong."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from tests.store.ended import DAY, NOW, History, connected
from webhook.deployments.changelog import Changelog
from webhook.store import deployments, insights, retention
from webhook.store.database import connect_async
from webhook.store.insights import Figures, Spread

HOUR, MINUTE, DAYS = timedelta(hours=1), timedelta(minutes=1), timedelta(days=1)


@pytest.fixture
def history(store_url: str) -> Iterator[History]:
    with connected(store_url) as connection:
        yield History(connection)


def test_only_successes_that_change_what_production_runs_are_deployments(history: History) -> None:
    history.ends(1 * HOUR, "a")
    history.ends(2 * HOUR, "a")  # deployed again
    history.ends(3 * HOUR, "b", "failure")
    history.ends(4 * HOUR, "b")
    history.ends(5 * HOUR, "a")  # another commit than the one before, though an old one
    history.ends(6 * HOUR, "c", environment="staging")  # Four Keys counts each environment
    history.ends(30 * HOUR, "d", "superseded")
    history.ends(31 * HOUR, "d", "inactive")
    replaced = history.ends(32 * HOUR, "d", environment="Production")
    history.connection.execute(
        "update deployments set phase = 'inactive' where id = %s", [replaced]
    )

    figures = history.figures()

    assert (figures.changes, figures.days) == (4, 2)
    assert (figures.repeated, figures.failed) == (1, 1)
    assert history.figures(environment="*").changes == 5
    assert history.figures(environment="Staging").changes == 1
    assert history.figures(repo_ids=(2,)) == Figures()


def test_what_is_learned_late_counts_where_it_happened(history: History) -> None:
    history.ends(1 * HOUR, "a")
    history.ends(9 * HOUR, "a")
    assert history.figures().changes == 1
    history.ends(5 * HOUR, "b")

    assert history.figures().changes == 3  # so that "a" was no repetition


def test_lead_time_is_that_of_each_commit_from_its_committer_date(history: History) -> None:
    history.ends(0 * HOUR, "a", committed=[-5 * DAYS], since="never there")
    history.ends(10 * HOUR, "b", "failure", committed=[1 * HOUR], since="a")
    history.ends(20 * HOUR, "c", committed=[18 * HOUR, 10 * HOUR, 1 * HOUR, 21 * HOUR], since="a")
    history.ends(30 * HOUR, "a", task="rollback", committed=[], since="c")  # brings none
    history.ends(40 * HOUR, "d", committed=[1 * HOUR], since="b")  # compared with another

    figures = history.figures()

    # Hours: 2, 10, 19, and 0 of a clock that was ahead; not divided by all deployments, of which
    # some never ran (Deliverybot), and those without new commits still count as deployments.
    assert (figures.leads.n, figures.leads.median) == (4, 6 * 3600)
    assert figures.leads.high == pytest.approx(16.3 * 3600)
    assert figures.leads_known == 1
    assert figures.changes == 4


def test_a_run_that_failed_is_no_failed_change(history: History) -> None:
    history.ends(1 * HOUR, "a")
    history.ends(2 * HOUR, "b", "failure")
    history.ends(3 * HOUR, "b", "error")
    history.ends(4 * HOUR, "b", "error", ran=False)
    history.ends(5 * HOUR, "b")

    figures = history.figures()

    assert (figures.changes, figures.bad, figures.rework) == (2, 0, 0)
    assert (figures.failed, figures.not_run, figures.recoveries.n) == (2, 1, 0)


@pytest.mark.parametrize(
    "repair",
    [
        {"task": "rollback"},
        {"task": "deploy:rollback"},
        {"task": "hotfix"},
        {"task": "Hotfix:db"},
        {"payload": {"rework": True}},
    ],
)
def test_what_is_rolled_back_or_hot_fixed_has_failed(
    history: History, repair: dict[str, Any]
) -> None:
    history.ends(1 * HOUR, "a")
    bad = history.ends(2 * HOUR, "b")
    history.ends(3 * HOUR, "b")  # once more: that is no recovery, and not what was bad
    history.ends(4 * HOUR, "c", **repair)

    figures = history.figures()

    assert (figures.changes, figures.bad, figures.rework) == (3, 1, 1)
    assert figures.recoveries == Spread(n=1, median=7200, high=7200)
    [behind] = insights.facts(history.connection, history.scope(), NOW, kind="bad")
    assert (behind.deployment_id, behind.recovery, behind.recovered) == (bad, 7200, True)


def test_one_failure_counts_once_however_many_repairs_it_takes(history: History) -> None:
    """Four Keys has counted an incident for each commit, which gives rates above 100%."""
    history.ends(1 * HOUR, "a")
    history.ends(2 * HOUR, "b")
    history.ends(3 * HOUR, "fix-1", "failure", task="hotfix")
    history.ends(4 * HOUR, "fix-2", "failure", task="hotfix")
    history.ends(5 * HOUR, "fix-3", task="hotfix")

    figures = history.figures()

    assert (figures.changes, figures.bad, figures.failed) == (3, 1, 2)
    assert figures.recoveries == Spread(n=1, median=3 * 3600, high=3 * 3600)


def test_roll_back_says_itself_which_deployment_was_bad(history: History) -> None:
    history.ends(1 * HOUR, "a")
    bad = history.ends(2 * HOUR, "b")
    history.ends(2.5 * HOUR, "b", "failure")  # a Retry meanwhile
    history.ends(3 * HOUR, "a", rolls_back=bad)

    found = insights.facts(history.connection, history.scope(), NOW, kind="recoveries")

    assert [(one.deployment_id, one.recovery) for one in found] == [(bad, 3600)]


def test_a_failed_run_that_had_to_be_rolled_back_is_recovered_from_its_end(
    history: History,
) -> None:
    history.ends(1 * HOUR, "a")
    half_way = history.ends(2 * HOUR, "b", "failure")
    history.ends(3 * HOUR, "a", rolls_back=half_way)

    figures = history.figures()

    assert (figures.changes, figures.bad, figures.failed) == (1, 0, 1)
    assert figures.recoveries == Spread(n=1, median=3600, high=3600)


def test_a_failure_that_lasts_is_counted_so_far(history: History) -> None:
    history.ends(1 * HOUR, "a")
    history.ends(2 * HOUR, "b")
    history.ends(3 * HOUR, "a", "failure", task="deploy:rollback")

    figures = history.figures()

    assert (figures.bad, figures.unrecovered, figures.recoveries.n) == (1, 1, 1)
    assert figures.recoveries.median == (NOW - DAY - 2 * HOUR).total_seconds()


def test_a_figure_of_a_period_does_not_change_with_what_else_is_shown(history: History) -> None:
    """DevLake tied one incident to several deployments, by what was synchronized together."""
    history.ends(1 * HOUR, "a")
    history.ends(2 * DAYS, "b")
    history.ends(9 * DAYS, "c")
    history.ends(10 * DAYS, "b", task="rollback")  # a week later, of "c"
    history.ends(11 * DAYS, "d", repo_id=2)
    history.ends(12 * DAYS, "d", repo_id=2, environment="staging", task="hotfix")

    week = history.figures(since=DAY, until=DAY + 9.5 * DAYS)

    assert (week.changes, week.bad) == (3, 1)  # its repair came after the week
    assert history.figures(repo_ids=(1,)).bad == history.figures(environment="*").bad == 1


def test_parts_of_a_period_have_only_what_happened_in_them(history: History) -> None:
    history.ends(-20 * DAYS, "a")
    history.ends(1 * DAYS, "b", committed=[0 * DAYS], since="a", lasts=10 * MINUTE)
    history.ends(16 * DAYS, "c")
    history.ends(17 * DAYS, "c", repo_id=2)

    found = history.read()

    before = next(one for one in found.figures if not one.current)
    weeks = {one.bucket: one for one in found.figures if one.bucket}
    assert before.changes == 1
    assert {bucket: one.changes for bucket, one in weeks.items()} == {DAY: 1, DAY + 14 * DAYS: 2}
    assert weeks[DAY].leads.median == 86400
    assert weeks[DAY].durations == Spread(n=1, median=600, high=600)
    assert weeks[DAY + 14 * DAYS].leads == Spread()  # not 0 h, as Four Keys shows
    assert [(one.repo_id, one.environment, one.changes) for one in found.environments] == [
        (1, "production", 2),
        (2, "production", 1),
    ]


def test_failures_are_grouped_by_what_their_messages_have_in_common(history: History) -> None:
    for number, message in enumerate(
        (
            "The command failed with exit code 3",
            "The command failed with exit code 3",
            "The command failed with exit code 1",
            "Missed from 02:04 to 04:10 UTC; superseded by 123456",
            "Missed from 12:04 to 14:10 UTC; superseded by 9876543",
        )
    ):
        history.ends(number * HOUR, "a", "failure", message=message)

    found = {one.reason: one.failures for one in history.read().reasons}

    assert found == {
        "The command failed with exit code 3": 2,
        "The command failed with exit code 1": 1,
        "Missed from … to … UTC; superseded by …": 2,
    }


def test_a_gate_is_counted_while_it_holds_a_deployment_back(history: History) -> None:
    waits = (
        "update deployments set blockers = %s::jsonb where id = (select max(id) from deployments)"
    )
    history.ends(1 * HOUR, "a")
    history.ends(2 * HOUR, "b", "queued")
    connection = history.connection
    with connection.transaction():
        connection.execute(waits, ['[{"gate": "lock"}, {"gate": "approval"}]'])
        connection.execute("select pg_sleep(0.02)")
        connection.execute(waits, ['[{"gate": "approval"}]'])
        connection.execute("select pg_sleep(0.02)")
    [kept] = connection.execute("select waits from deployments order by id desc limit 1")
    assert kept["waits"]["lock"]["since"] is None
    assert 0.02 <= kept["waits"]["lock"]["seconds"] < 5
    assert kept["waits"]["approval"]["since"]
    connection.execute(
        "update deployments set blockers = '[]', phase = 'success', ended_at = %s"
        " where id = (select max(id) from deployments)",
        [DAY + 3 * HOUR],
    )

    assert {one.gate: one.waited.n for one in history.read().waits} == {"lock": 1, "approval": 1}


def test_figures_go_on_when_the_deployments_are_deleted(history: History) -> None:
    history.ends(1 * HOUR, "a")
    history.connection.execute("delete from deployments")
    history.next_id = 2
    history.ends(2 * HOUR, "a")

    assert history.figures().changes == 1
    assert history.figures().repeated == 1


def test_nothing_keeps_a_deployment_from_ending(history: History) -> None:
    """What the relay never writes, but another version or a person in psql may."""
    connection = history.connection
    odd = ("null", "3", "{}", '"lock"', '[{"gate": null}, 3, null, {}]', '[{"gate": "lock"}]')
    for number, blockers in enumerate(odd):
        waits = '{"lock": {"seconds": "x", "since": "never"}}' if number % 2 else "[1]"
        identifier = history.ends(number * HOUR, "a\\'\"", "queued", environment="'; drop --é%s")
        change = "update deployments set {} where id = %s"
        connection.execute(change.format("waits = %s"), [waits, identifier])
        connection.execute(change.format("blockers = %s"), [blockers, identifier])
        ends = "phase = 'failure', status_description = repeat('(a+)+$ \\1', 99), ended_at = now()"
        connection.execute(change.format(ends), [identifier])
    assert ended(history) == len(odd)

    with connection.transaction(force_rollback=True):
        connection.execute("alter table deployment_facts add check (false) not valid")
        history.ends(10 * HOUR, "b", committed=[HOUR])
        assert ended(history) == len(odd) + 1


def ended(history: History) -> int:
    query = "select count(*) as n from deployments where ended_at is not null and phase <> 'queued'"
    [found] = history.connection.execute(query)
    return int(found["n"])


def test_a_deployment_that_ends_twice_counts_as_it_ended_first(history: History) -> None:
    history.ends(1 * HOUR, "a")
    twice = history.ends(2 * HOUR, "b")
    for columns in (
        "phase = 'in_progress', ended_at = null",
        "phase = 'failure', ended_at = now()",
        "phase = 'failure', ended_at = now()",
        "phase = 'inactive'",
    ):
        history.connection.execute(f"update deployments set {columns} where id = %s", [twice])

    figures = history.figures()

    assert (figures.changes, figures.failed) == (2, 0)


def test_what_ends_while_a_gate_holds_it_has_waited_until_then(history: History) -> None:
    waits = '{"lock": {"seconds": 5, "since": "2026-03-02T01:00:00Z"}}'
    identifier = history.ends(2 * HOUR, "a", "queued")
    history.connection.execute(
        "update deployments set waits = %s, phase = 'error', ended_at = %s where id = %s",
        [waits, DAY + 3 * HOUR, identifier],
    )

    [wait] = history.read().waits

    assert (wait.gate, wait.waited.median) == ("lock", 5 + 2 * 3600)


async def test_what_counted_is_forgotten_when_it_is_old_enough(
    history: History, store_url: str
) -> None:
    history.ends(1 * HOUR, "a")
    history.ends(3 * HOUR, "b")
    async with await connect_async(store_url) as connection:
        batch = await retention.facts(connection, 0, DAY + 2 * HOUR)

    assert (batch.deleted, batch.after) == (1, None)
    assert history.figures().changes == 1


async def test_when_commits_were_made_may_be_learned_after_the_end(
    history: History, store_url: str
) -> None:
    history.ends(1 * HOUR, "a")
    number = history.ends(3 * HOUR, "b")
    assert history.figures().leads_known == 0
    async with await connect_async(store_url) as connection:
        changelog = Changelog("a", 1, 0, ())
        await deployments.save_changelog(connection, number, "a", changelog, [DAY + 2 * HOUR])

    assert history.figures().leads == Spread(n=1, median=3600, high=3600)
