"""What has to be true of the environments before one, and what is missing."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.gates.candidates import CANDIDATE, NOW
from webhook.config.destinations import Strict
from webhook.deployments.phases import Phase
from webhook.gates.chains import PromotionKeys
from webhook.gates.contract import ALLOW, Snapshot, Upstream, Verdict, Wait
from webhook.gates.promotion import decide

STAGING = Upstream(
    environment="Staging",
    id=3,
    sha=CANDIDATE.sha,
    phase=Phase.SUCCESS,
    ended_at=NOW - timedelta(minutes=10),
)
OTHER = replace(STAGING, sha="b" * 40)
FIRST = "Deploy this commit to staging first"


def verdict(*upstreams: Upstream, rolls_back: bool = False, **keys: Any) -> Verdict:
    environment = PromotionKeys.model_validate_json('{"after": "staging"}').model_copy(update=keys)
    candidate = replace(CANDIDATE, rolls_back=rolls_back)
    return decide(
        Snapshot(candidate=candidate, environment=environment, now=NOW, upstreams=upstreams)
    )


@pytest.mark.parametrize(
    ("upstreams", "reason", "way_out"),
    [
        ((), "nothing has been deployed there", FIRST),
        ((OTHER,), "it has bbbbbbb, not this commit", FIRST),
        (
            (replace(OTHER, phase=Phase.QUEUED),),
            "bbbbbbb runs there, not this commit",
            FIRST,
        ),
        (
            (replace(OTHER, phase=Phase.ERROR),),
            "bbbbbbb failed there, not this commit",
            FIRST,
        ),
        ((replace(STAGING, phase=Phase.IN_PROGRESS),), "this commit runs there", ""),
        (
            (replace(STAGING, phase=Phase.FAILURE),),
            "this commit failed there",
            "Retry it in staging",
        ),
        (
            (replace(STAGING, phase=Phase.INACTIVE),),
            "this commit is inactive there",
            "Deploy it to staging again",
        ),
    ],
)
def test_it_waits_for_a_success_of_the_commit(
    upstreams: tuple[Upstream, ...], reason: str, way_out: str
) -> None:
    expected = Wait(reason=f"Waits for staging: {reason}", way_out=way_out)
    assert verdict(*upstreams, soak=timedelta(hours=1)) == expected
    # What ran here before goes back without the whole chain.
    assert verdict(*upstreams, rolls_back=True) == ALLOW


def test_a_success_soaks_until_a_moment_that_stays_the_same() -> None:
    assert verdict(STAGING) == verdict(STAGING, soak=timedelta(minutes=10)) == ALLOW
    assert verdict(STAGING, soak=timedelta(minutes=30)) == Wait(
        reason="Soaks in staging for 30m",
        until=NOW + timedelta(minutes=20),
        way_out="Lower soak in deploy.yml",
    )
    assert decide(Snapshot(candidate=CANDIDATE, environment=Strict(), now=NOW)) == ALLOW


def test_of_several_all_have_to_let_it_go_on() -> None:
    qa = replace(STAGING, environment="qa", ended_at=NOW)
    keys: dict[str, Any] = {"after": ("staging", "qa"), "soak": timedelta(minutes=30)}
    both = verdict(STAGING, qa, **keys)
    assert isinstance(both, Wait)
    assert both.reason == "Soaks in staging for 30m and soaks in qa for 30m"
    assert both.until == NOW + timedelta(minutes=30)
    one = verdict(STAGING, **keys)
    assert isinstance(one, Wait)
    assert one.until is None
    assert one.reason.endswith("and waits for qa: nothing has been deployed there")
    assert one.way_out == "Lower soak in deploy.yml and deploy this commit to qa first"
