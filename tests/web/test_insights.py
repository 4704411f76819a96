"""The page of the insights: what of the store's figures is shown, and to whom."""

import csv
import io
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.store.ended import DAY, History, connected
from tests.web.people import browser
from tests.web.viewing import Seen
from tests.world import World, live
from webhook.store.insights import Fact, Figures, Insights, Spread
from webhook.timing import utc_now
from webhook.web.pages.insights import amounts, charts, figures, periods
from webhook.web.pages.insights.figures import FigureView
from webhook.web.pages.insights.periods import Period

HOUR, DAYS = timedelta(hours=1), timedelta(days=1)
SINCE = datetime(2026, 3, 2, 6, tzinfo=UTC)
MONTH = Period(since=SINCE, until=SINCE + 30 * DAYS, bucket=DAYS)
HOSTILE = '"><script>alert(1)</script>'


def found(
    now: Figures, before: Figures | None = None, days: dict[datetime, Figures] | None = None
) -> Insights:
    parts = (now, *((before,) if before else ()), *(days or {}).values())
    return Insights(figures=parts, environments=(), waits=(), reasons=(), reaches=None)


def figures_of(
    insights: Insights, period: Period = MONTH, few: tuple[Fact, ...] = ()
) -> dict[str, FigureView]:
    shown = figures.dora(insights, period, {"changes": few})
    return {one.id: one for one in shown}


def test_figures_say_of_how_many_they_are_and_what_they_were_before() -> None:
    now = Figures(
        changes=60,
        days=20,
        bad=6,
        rework=3,
        failed=9,
        not_run=2,
        leads=Spread(n=120, median=7200, high=90_000),
        leads_known=50,
        recoveries=Spread(n=6, median=1800, high=5400),
        unrecovered=1,
    )
    before = Figures(current=False, changes=30, bad=6, recoveries=Spread(n=4, median=60, high=60))

    shown = figures_of(found(now, before))

    assert (shown["frequency"].value, shown["frequency"].before) == ("2 a day", "1 a day")
    assert "60 deployments on 20 different days" in shown["frequency"].detail
    assert shown["lead"].value == "2 h"
    assert shown["lead"].detail.startswith("median; p90 1 d; n = 120 commits of 50 deployments; of")
    assert shown["lead"].before == "too few (0)"
    assert (shown["failures"].value, shown["failures"].before) == ("10%", "20%")
    assert "30 min" in shown["recovery"].value
    assert "1 not recovered yet, counted so far" in shown["recovery"].detail
    assert shown["recovery"].before == "too few (4)"
    assert shown["rework"].value == "5%"
    assert (shown["runs"].value, shown["runs"].behind) == ("9", "failed")


def test_days_without_a_deployment_count_as_none() -> None:
    """Of whole days alone: the first and the last are in the period in part."""
    first = SINCE.replace(hour=0)
    days = {
        first + number * DAYS: Figures(bucket=first + number * DAYS, changes=changes)
        for number, changes in ((0, 99), (1, 2), (2, 4), (3, 6))
    }
    week = Period(since=SINCE, until=SINCE + 7 * DAYS, bucket=DAYS)

    shown = figures_of(found(Figures(changes=111, days=4), days=days), week)

    assert periods.whole_buckets(found(Figures(), days=days), week) == [2, 4, 6, 0, 0, 0]
    assert "a day: median 1, p90 5, of 6 whole days" in shown["frequency"].detail


def test_under_five_there_is_no_figure_but_the_deployments() -> None:
    few = Figures(changes=4, bad=1, rework=1, leads_known=1, leads=Spread(n=9, median=1, high=1))
    assert figures.withheld(found(few)) == ("changes", "leads")

    shown = figures_of(found(few), few=(fact(1), fact(2)))

    assert [shown[name].value for name in ("frequency", "lead", "failures", "rework")] == [""] * 4
    assert [one.deployment.text for one in shown["failures"].listed] == ["1", "2"]
    assert charts.charts(found(few), MONTH) == ()


def test_nothing_is_compared_with_a_period_of_which_not_all_was_counted() -> None:
    period = Period(since=SINCE, until=SINCE + 30 * DAYS, bucket=DAYS, reaches=SINCE + 20 * DAYS)
    shown = figures_of(found(Figures(changes=5000), Figures(current=False, changes=9)), period)

    assert shown["frequency"].value == "500 a day"
    assert {one.before for one in shown.values()} == {""}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (60, "1 min"),
        (200, "3.3 min"),
        (3599.9, "1 h"),
        (86_399, "1 d"),
        (86_400 * 2.5, "2.5 d"),
        (86_400 * 1234, "1,234 d"),
    ],
)
def test_durations_have_two_digits(seconds: float, text: str) -> None:
    assert amounts.span(seconds) == text


def test_a_day_without_a_value_has_a_gap_and_not_a_zero() -> None:
    first = SINCE.replace(hour=0)
    days = {
        first + number * DAYS: Figures(
            bucket=first + number * DAYS, changes=5, leads=Spread(n=5, median=median, high=median)
        )
        for number, median in ((1, 0.0), (3, 7200.0))
    }
    now = Figures(changes=10, leads=Spread(n=10, median=1, high=1), leads_known=10)

    drawn = {one.id: one for one in charts.charts(found(now, days=days), MONTH)}

    assert [one.title for one in drawn["leads"].bars] == [
        "03 Mar 2026: 0 s, n = 5",
        "05 Mar 2026: 2 h, n = 5",
    ]
    assert len(drawn["deployments"].points) == 31
    assert len(drawn["deployments"].bars) == 2
    assert drawn["repaired"].bars == ()


def fact(number: int) -> Fact:
    return Fact(
        deployment_id=number,
        repo="acme/site",
        repo_id=1,
        environment="production",
        production=True,
        sha="abc",
        outcome="success",
        ran=True,
        change=True,
        rework=False,
        bad=False,
        requested_at=SINCE,
        started_at=SINCE,
        ended_at=SINCE,
        commits=None,
        lead=None,
        duration=None,
        recovery=None,
        recovered=False,
        reason="",
        kept=True,
    )


async def test_people_see_the_figures_of_what_they_may_read(store_url: str, tmp_path: Path) -> None:
    operator = {"GITPLOY_ADMIN_USERS": "octoadmin"}
    async with (
        live(store_url, tmp_path, environ=operator) as world,
        browser(world, "octoreader") as reader,
        browser(world, "octoguest") as guest,
        browser(world, "octoadmin") as admin,
    ):
        assert "Nothing that you may see" in (await guest.open("/insights")).text
        fill(world)
        world.clock.ahead = timedelta(seconds=20)  # the list of repositories is kept for a while

        page = await reader.open("/insights")
        assert "6 deployments on" in page.text
        assert re.search("Change failure rate 17% 1 of 6 deployments", page.text)
        assert "acme/other" not in page.html
        assert "7 deployments on" in (await admin.open("/insights")).text
        for path in ("/insights?repo=acme/other", "/insights?environment=nowhere"):
            assert "No deployment ended here" in (await reader.open(path)).text
        assert "acme/" not in (await guest.open("/insights?repo=acme/site&kind=all")).text
        assert "<script>alert" not in page.html
        assert "&lt;script&gt;" in (await reader.open("/insights?kind=failed")).html
        assert " style=" not in page.html

        as_drawn(page.html)
        newest = failed_deployment(world)
        for path in ("/insights", "/insights?kind=failed"):
            assert any(one.endswith(f"/{newest}") for one in (await reader.open(path)).links)
        world.execute("delete from deployments where id = %s", newest)
        for path in ("/insights", "/insights?kind=failed"):
            page = await reader.open(path)
            assert f"{newest} deleted" in page.text
            assert not any(one.endswith(f"/{newest}") for one in page.links)

        wide = await reader.open("/insights?environment=*&days=365&kind=bad")
        assert "had to be repaired" in wide.text
        assert (await reader.open("/insights?days=8")).status == 400
        assert (await reader.open("/insights?kind=all&after=x_y")).status == 400

        file = (await reader.open("/insights.csv?environment=*")).html
        rows = list(csv.DictReader(io.StringIO(file)))
        assert {one["repo"] for one in rows} == {"acme/site"}
        failed = [one["environment"] for one in rows if one["outcome"] == "failure"]
        assert failed == ["production"]
        assert any(one["environment"] == "'=cmd()" for one in rows)
        assert len([one for one in rows if one["bad"] == "yes"]) == 1


def failed_deployment(world: World) -> int:
    [row] = world.rows("select deployment_id from deployment_facts where outcome = 'failure'")
    return int(row["deployment_id"])


def fill(world: World) -> None:
    """Of acme/site, which octoreader may read, and of a repository that they may not."""
    github = world.github
    other = github.add_repository("acme/other")
    world.sandbox.installation.repositories.append(other)
    for login in ("octoreader", "octoguest"):
        github.add_collaborator("acme/other", login, "none")
    site = github.world.repositories["acme/site"].id
    ago = utc_now() - DAY
    with connected(world.store_url) as connection, connection.transaction():
        history = History(
            connection,
            1000,
            {site: "acme/site", other.id: "acme/other"},
            world.sandbox.installation.id,
        )
        for number in range(5):
            at = ago - (10 - number) * DAYS
            history.ends(at, f"sha{number}", repo_id=site, committed=[at - HOUR], since="")
        history.ends(ago - 2 * DAYS, "sha9", repo_id=site, task="rollback")
        history.ends(ago - 1 * DAYS, "sha10", "failure", repo_id=site, message=HOSTILE)
        history.ends(ago - 1 * DAYS, "sha1", repo_id=other.id)
        history.ends(ago - 1 * DAYS, "sha1", repo_id=site, environment="=cmd()")


def as_drawn(html: str) -> None:
    """Each drawing has the numbers of its table."""
    charts = html.split('<figure class="chart"')[1:]
    assert len(charts) >= 4
    for chart in charts:
        svg, table = chart.split("</svg>")
        assert 'role="img"' in svg
        drawn = re.findall(r"<title>([^<:]+): ([^<,]+)", svg)
        listed = re.findall(r"<tr><td>([^<]+)</td><td class=\"number\">([^<]+)</td>", table)
        assert drawn == [one for one in listed if one[1] != "0" and one[1].isascii()]
        assert len(Seen(svg).all("rect")) == len(drawn)
