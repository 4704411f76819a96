"""Whom a frozen window holds, and what it says."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tests.config.test_load import config
from tests.gates.candidates import CANDIDATE, NOW
from webhook.config.environments import Environment
from webhook.gates.contract import ALLOW, Candidate, Snapshot, Verdict, Wait
from webhook.gates.freeze import FREEZE

EVENING = '{start: "0 18 * * MON-FRI", duration: 90m, location: Europe/Berlin, reason: backup}'
# Noon to 17:00 in Berlin, and the night's after.
TODAY = "{from: 2026-11-27T11:00, to: 2026-11-27T17:00, reason: quarter end, lets: [rollbacks]}"

WAY_OUT = "Change frozen_windows in deploy.yml"


def environment(own: str, file: str = "[]", more: str = "") -> Environment:
    text = f"frozen_windows: {file}\nenvs: [{{name: production, handler: command{more},"
    others = "{name: '*', handler: command}"  # those that a window of the file may be for
    loaded, _ = config(f"{text} frozen_windows: {own}}}, {others}]").envs
    return loaded


def verdict(env: Environment, now: datetime = NOW, candidate: Candidate = CANDIDATE) -> Verdict:
    return FREEZE.decide(Snapshot(candidate=candidate, environment=env, now=now))


def test_it_says_what_is_frozen_until_when_and_the_way_out() -> None:
    env = environment(f"[{EVENING}, {TODAY}]")
    until = datetime(2026, 11, 27, 18, 30, tzinfo=UTC)
    assert verdict(env) == Wait(
        reason="Frozen: quarter end (2026-11-27 11:00 to 2026-11-27 17:00)",
        until=until,  # that of the next one, which begins where this one ends
        way_out=WAY_OUT,
    )
    evening = Wait(
        reason="Frozen: backup (At 18:00 on Monday through Friday, Europe/Berlin)",
        until=until,
        way_out=WAY_OUT,
    )
    # It is a function of the time alone: a clock may jump.
    for hour, expected in ((17, evening), (19, ALLOW), (3, ALLOW), (17, evening)):
        assert verdict(env, NOW.replace(hour=hour)) == expected
    assert verdict(environment("[]")) == ALLOW
    glass = verdict(environment(f"[{TODAY}]", more=", break_glass: [mona]"))
    assert isinstance(glass, Wait)
    assert glass.way_out == "/deploy override, or change frozen_windows in deploy.yml"


def test_a_rollback_passes_a_window_that_lets_it() -> None:
    env = environment(f"[{EVENING}, {TODAY}]")
    rollback = replace(CANDIDATE, rolls_back=True)
    assert verdict(env, candidate=rollback) == ALLOW
    assert isinstance(verdict(env, NOW.replace(hour=17), rollback), Wait)


@pytest.mark.parametrize(
    ("covers", "held"),
    [
        ("", True),
        (", environments: [PROD*]", True),
        (", environments: [stage]", False),
        (", repos: [acme/*]", True),
        (", repos: [other/*, ACME/shop]", True),
        (", repos: [other/*]", False),
        (", repos: [old/*]", True),  # a name that it had
        (", repos: [acme/shop], environments: [stage]", False),
    ],
)
def test_one_at_the_top_of_the_file_holds_what_its_patterns_match(covers: str, held: bool) -> None:
    env = environment("[]", f"[{{from: 2026-11-27, to: 2026-11-27{covers}}}]")
    candidate = replace(CANDIDATE, former_names=("old/shop", "acme/shop"))
    assert isinstance(verdict(env, candidate=candidate), Wait) is held


def test_all_that_hold_are_named_once() -> None:
    day = "{from: 2026-11-27, to: 2026-11-27}"
    env = environment(f"[{day}, {TODAY}]", f"[{day}]")
    found = verdict(env)
    assert isinstance(found, Wait)
    assert found.reason.startswith("Frozen: 2026-11-27 and quarter end (")
    assert found.until == NOW.replace(hour=0) + timedelta(days=1)


@pytest.mark.parametrize(
    ("covers", "used"),
    [
        ("", True),
        (", environments: ['*tion']", True),
        (", environments: [stage]", False),
        (", repos: ['*/shop']", True),
        (", repos: ['acme/s?']", False),
        (", repos: [other/*]", False),
        (", repos: [other/*, acme/*], environments: [stage, 'p[a-z]*']", True),
    ],
)
def test_one_at_the_top_concerns_an_environment_that_it_may_cover(covers: str, used: bool) -> None:
    window = f"[{{from: 2026-11-27, to: 2026-11-27{covers}}}]"
    env = environment("[]", window, ", repos: ['acme/shop*', beta/site]")
    assert FREEZE.key_in_use(env) == ("frozen_windows" if used else "")
    assert FREEZE.key_in_use(environment(f"[{EVENING}]"))
