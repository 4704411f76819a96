"""Which refs may be deployed."""

from dataclasses import replace

from tests.config.test_load import config
from tests.gates.candidates import CANDIDATE, NOW
from webhook.config.environments import Environment
from webhook.gates.contract import ALLOW, Candidate, Deny, Snapshot, Verdict
from webhook.gates.deployable_ref import DEPLOYABLE_REF


def environment(pattern: str = "") -> Environment:
    key = f", deployable_ref: '{pattern}'" if pattern else ""
    [loaded] = config(f"envs: [{{name: production, handler: command{key}}}]").envs
    return loaded


def verdict(env: Environment, candidate: Candidate) -> Verdict:
    return DEPLOYABLE_REF.decide(Snapshot(candidate=candidate, environment=env, now=NOW))


def test_a_ref_that_does_not_match_is_refused() -> None:
    branch, tag = replace(CANDIDATE, ref="maintenance"), replace(CANDIDATE, ref="v1.2.0")
    assert verdict(environment(), branch) == ALLOW
    assert verdict(environment("main"), branch) == ALLOW  # as in Gitploy: found anywhere
    assert verdict(environment("^(main|v[0-9.]+)$"), tag) == ALLOW
    assert verdict(environment("^main$"), branch) == Deny(
        reason="maintenance may not be deployed here: deployable_ref is ^main$",
        way_out="Deploy a ref that matches",
    )
    assert DEPLOYABLE_REF.key_in_use(environment("^main$")) == "deployable_ref"
    assert DEPLOYABLE_REF.key_in_use(environment()) == ""


def test_all_patterns_have_to_be_found() -> None:
    both = environment("^v").model_copy(update={"deployable_ref": ("^v", "[0-9]$", "^main$")})
    denied = verdict(both, replace(CANDIDATE, ref="v1.2.0-rc"))
    assert isinstance(denied, Deny)
    assert denied.reason == (
        "v1.2.0-rc may not be deployed here: deployable_ref is [0-9]$ and ^main$"
    )


def test_what_has_succeeded_there_may_be_rolled_back_to() -> None:
    commit = replace(CANDIDATE, ref="a" * 40)
    assert isinstance(verdict(environment("^main$"), commit), Deny)
    assert verdict(environment("^main$"), replace(commit, rolls_back=True)) == ALLOW
