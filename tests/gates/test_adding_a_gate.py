"""The gate of docs/how-to/add-a-gate.md works as documented."""

import re
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from handlers import HANDLERS
from webhook.config.environments import Config, json_schema
from webhook.config.load import load
from webhook.deployments.blockers import describe
from webhook.errors import ConfigErrors
from webhook.gates.contract import Candidate, Gate, Snapshot
from webhook.gates.decision import Decision, decide
from webhook.notifiers import DESTINATIONS

PAGE = (Path(__file__).parents[2] / "docs/how-to/add-a-gate.md").read_text()
CODE = "\n\n".join(re.findall(r"^```python\n(.*?)^```$", PAGE, re.M | re.S))
[EXAMPLE] = re.findall(r"^```\n(envs:.*?)^```$", PAGE, re.M | re.S)
OPTIONS = {name: handler.Options for name, handler in HANDLERS.items()}
# A Monday, at ten in Berlin.
MONDAY = datetime(2026, 3, 23, 9, tzinfo=UTC)


@pytest.fixture(scope="module")
def gate() -> Gate:
    module = ModuleType("business_hours_of_the_page")
    sys.modules[module.__name__] = module
    exec(compile(CODE, "docs/how-to/add-a-gate.md", "exec"), module.__dict__)
    found: Gate = module.__dict__["BUSINESS_HOURS"]
    return found


def config(gate: Gate, text: str = EXAMPLE) -> Config:
    return load(
        text,
        source="deploy.yml",
        environ={},
        handler_options=OPTIONS,
        notifiers=DESTINATIONS,
        gates=[gate],
    )


def decided(gate: Gate, now: datetime, **decision: Any) -> Decision:
    candidate = Candidate(
        id=7,
        repo="acme/site",
        repo_id=1,
        environment="production",
        ref="main",
        sha="4f2c9d1",
        requested_at=now,
        asker="octocat",
        asker_id=1,
        rolls_back=False,
    )
    [environment] = config(gate).envs
    snapshot = Snapshot(candidate=candidate, environment=environment, now=now)
    return decide(snapshot, {gate.name: gate}, **decision)


def test_it_allows_and_waits_until_the_next_weekday(gate: Gate) -> None:
    assert decided(gate, MONDAY).blockers == ()
    evening = MONDAY + timedelta(hours=6)
    [blocker] = decided(gate, evening).blockers
    assert blocker.until == MONDAY + timedelta(hours=23)
    text = "Outside business hours (9:00 to 16:00, Europe/Berlin) (until Tue 24 Mar 08:00 UTC)"
    assert describe([blocker], evening).startswith(text)
    # On Friday evening until Monday, when the clocks have gone forward.
    [blocker] = decided(gate, evening + timedelta(days=4)).blockers
    assert blocker.until == datetime(2026, 3, 30, 7, tzinfo=UTC)
    assert decided(gate, evening, skipped=[gate.name]).blockers == ()


def test_what_it_cannot_say_is_no_permission(gate: Gate) -> None:
    [environment] = config(gate).envs
    broken = Snapshot(candidate=None, environment=environment, now=None)  # type: ignore[arg-type]
    [blocker] = decide(broken, {gate.name: gate}).blockers
    assert "failed, so that nobody knows whether it may start" in blocker.reason


def test_its_keys_are_checked_and_are_in_the_schema(gate: Gate) -> None:
    for wrong, error in (
        ("Europe/Bern", "5:47: envs[0].business_hours.zone: 'Europe/Bern' is not a time zone"),
        ("../x", "is not a time zone"),
    ):
        with pytest.raises(ConfigErrors, match=re.escape(error)):
            config(gate, EXAMPLE.replace("Europe/Berlin", wrong))
    watched = EXAMPLE.replace("command", "github-actions").replace("{run: [./bin/deploy]}", "{}")
    with pytest.raises(ConfigErrors, match=r"5:5: envs\[0\].business_hours: cannot hold the tool"):
        config(gate, watched)
    assert "business_hours" in str(json_schema(OPTIONS, DESTINATIONS, [gate]))
