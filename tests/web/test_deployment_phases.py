"""Where the time of a deployment went: phases, each gate's share, and what is usual."""

from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from tests.web.viewing import REQUESTED_AT, Rows
from webhook.deployments.phases import Phase
from webhook.store import deployments, durations
from webhook.store.deployments import DeploymentRow
from webhook.store.durations import GateWait, Usual
from webhook.store.timeline import TimelineEntry
from webhook.web.pages.deployment.phases import WIDTH, PhasesView, build_phases


def later(seconds: float) -> datetime:
    return REQUESTED_AT + timedelta(seconds=seconds)


def row_of(rows: Rows, deployment_id: int = 1) -> DeploymentRow:
    with psycopg.connect(rows.url, row_factory=dict_row) as connection:
        found = deployments.read_sync(connection, deployment_id)
    assert found is not None
    return found


def reported(state: str, at: datetime) -> TimelineEntry:
    return TimelineEntry(
        id=1, position=1, at=at, actor="relay", state=state, description="", outbox=None, error=""
    )


def built(
    row: DeploymentRow,
    *entries: TimelineEntry,
    now: datetime | None = None,
    waits: dict[str, GateWait] | None = None,
    usual: Usual | None = None,
) -> PhasesView:
    view = build_phases(row, entries, now or later(10_000), waits or {}, usual)
    assert view is not None
    return view


def durations_of(view: PhasesView) -> list[tuple[str, str]]:
    return [(one.name, one.text) for one in view.phases]


def test_each_phase_has_its_duration_and_each_gate_its_share(rows: Rows) -> None:
    rows.deployment()
    row = row_of(rows)
    assert build_phases(row, [], later(1), {}, None) is None, "only its statuses are known"
    rows.change(
        requested_at=later(20),
        started_at=later(320),
        ended_at=later(420),
        handler="drone",
        phase=Phase.SUCCESS,
    )
    view = built(
        row_of(rows),
        reported("in_progress", later(350)),
        waits={"lock": GateWait(60), "approval": GateWait(300)},
        usual=Usual(waited=45, ran=61.6, sample=7),
    )
    assert durations_of(view) == [
        ("On its way to the relay", "20s"),
        ("Waited for gates", "5m"),
        ("Queued by drone", "30s"),
        ("Ran", "1m10s"),
    ]
    assert view.total == "7m"
    assert [one.usual for one in view.phases] == ["", "45s", "", "1m2s"]
    gates = [(one.gate, one.text, one.since) for one in view.phases[1].gates]
    assert gates == [("approval", "5m", None), ("lock", "1m", None)]
    # The bar is full, without a gap, and each phase can be seen.
    end = view.phases[-1].x + view.phases[-1].width
    assert end == pytest.approx(WIDTH, abs=0.5)
    for one, following in zip(view.phases, view.phases[1:], strict=False):
        assert one.x + one.width == pytest.approx(following.x, abs=0.2)
        assert one.width > 5
    assert view.summary.startswith("On its way to the relay 20s, Waited for gates 5m")


@pytest.mark.parametrize(
    ("columns", "waits", "expected"),
    [
        # It waits: what holds it has a beginning.
        ({}, {"freeze": GateWait(10, REQUESTED_AT)}, [("Waited for gates", True)]),
        # It waits for nothing that is known.
        ({}, {}, [("Accepted", True)]),
        ({"started_at": later(1)}, {}, [("Accepted", False), ("Queued by its tool", True)]),
        # It was refused before it started.
        ({"ended_at": later(9), "phase": Phase.ERROR}, {}, [("Accepted", False)]),
        (
            {"started_at": later(0), "ended_at": later(9), "phase": Phase.FAILURE},
            {},
            [("Ran", False)],
        ),
    ],
)
def test_what_goes_on_is_open(
    rows: Rows,
    columns: dict[str, Any],
    waits: dict[str, GateWait],
    expected: list[tuple[str, bool]],
) -> None:
    rows.deployment()
    rows.change(requested_at=REQUESTED_AT, **columns)
    view = built(row_of(rows), now=later(30), waits=waits)
    assert [(one.name, one.goes_on) for one in view.phases] == expected
    for gate in view.phases[0].gates:
        assert gate.text == "10s"
        assert gate.since is not None
    if row_of(rows).ended_at is None:
        later_on = built(row_of(rows), now=later(40), waits=waits)
        assert later_on == view, "nothing has happened"


def test_clocks_that_differ_make_no_negative_duration(rows: Rows) -> None:
    rows.deployment()
    rows.change(requested_at=later(5), started_at=later(4), ended_at=later(3), phase=Phase.SUCCESS)
    view = built(row_of(rows), reported("in_progress", later(1)))
    assert {one.text for one in view.phases} == {"0s"}


def test_usual_is_the_middle_of_the_last_successes_there(rows: Rows) -> None:
    for number, seconds in enumerate((10, 30, 20, 600), 1):
        rows.deployment(number)
        rows.change(
            number,
            requested_at=REQUESTED_AT,
            started_at=later(2),
            ended_at=later(2 + seconds),
            phase=Phase.FAILURE if seconds == 600 else Phase.SUCCESS,
        )
    rows.deployment(5)
    with psycopg.connect(rows.url, row_factory=dict_row) as connection:
        assert durations.usual_of(connection, row_of(rows, 5)) == Usual(2.0, 20.0, 3)
        assert durations.usual_of(connection, row_of(rows, 3)) is None, "of two"
