"""The operator's environment, tightened by the repository's own deploy.yml."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from textwrap import dedent

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.config.test_load import config
from tests.gates.candidates import CANDIDATE, NOW
from webhook.config.creation import payload_of
from webhook.config.environments import Environment
from webhook.deployments.approvals import Approval
from webhook.deployments.models import is_production
from webhook.gates import GATES
from webhook.gates.approval import APPROVAL, NarrowedReview, review_of
from webhook.gates.contract import ALLOW, Neighbour, Snapshot, Wait
from webhook.gates.deployable_ref import deployable_refs
from webhook.repository_file.read import read
from webhook.repository_file.tighten import Line, Tightened, tighten

OPERATOR, DEFAULT = "the operator's deploy.yml", "the default"


@lru_cache(maxsize=200)
def operators(keys: str = "") -> Environment:
    """Of production."""
    text = f"envs: [{{name: production, handler: command{', ' if keys else ''}{keys}}}]"
    [environment] = config(text).envs
    return environment


def line(number: int, copy: str = "") -> str:
    return f"the repository's deploy.yml{copy}, line {number}"


def tightened(own: str, head: str | None, at_sha: str | None = None) -> Tightened:
    files = [read(dedent(text).encode()) if text is not None else None for text in (head, at_sha)]
    return tighten(operators(own), files[0], files[1], "production")


def lines_of(found: Tightened, key: str) -> list[tuple[str, str, str]]:
    return [(one.value, one.origin, one.ignored) for one in found.lines if one.key == key]


HEAD = """\
    envs:
      - name: production
        task: deploy:k8s
        description: The shop
        auto_merge: true
        required_contexts: [ci, lint]
        payload: {replicas: 2}
        production_environment: true
        deployable_ref: ^v
        auto_deploy_on: ^refs/tags/v.*
        serialization: true
        frozen_windows:
          - {start: "0 18 * * FRI", duration: 1.5h}
"""


def test_without_a_file_the_operators_holds() -> None:
    found = tightened("task: build, review: {enabled: true, reviewers: [mona]}", None)
    assert found.environment == operators("task: build, review: {enabled: true, reviewers: [mona]}")
    assert (found.denial, found.way_out) == ("", "")
    assert lines_of(found, "task") == [("build", OPERATOR, "")]
    assert lines_of(found, "review") == [("1 of mona", OPERATOR, "")]
    assert lines_of(found, "serialization") == [("true", DEFAULT, "")]
    assert lines_of(found, "frozen_windows") == [("none", DEFAULT, "")]
    assert lines_of(found, "handler") == [("command", OPERATOR, "")]
    assert not lines_of(found, "with")


def test_what_the_operator_leaves_out_is_the_files() -> None:
    found = tightened("serialization: false", HEAD)
    env = found.environment
    assert (env.task, env.description, env.auto_merge) == ("deploy:k8s", "The shop", True)
    assert (env.payload, env.production_environment) == ({"replicas": 2}, True)
    assert (env.required_contexts, deployable_refs(env)) == (("ci", "lint"), ("^v",))
    assert (env.auto_deploy_on, env.model_dump()["serialization"]) == (("^refs/tags/v.*",), True)
    assert lines_of(found, "task") == [("deploy:k8s", line(3), "")]
    assert lines_of(found, "serialization") == [("true", line(11), "")]
    assert lines_of(found, "frozen_windows") == [
        ("the repository's deploy.yml (At 18:00 on Friday)", line(13), "")
    ]
    # What is the operator's alone stays, and the operator's own object too.
    assert env.options == operators().options
    assert operators("serialization: false").task is None


def test_inputs_do_not_take_the_place_of_the_operators_payload() -> None:
    head = """
    envs:
      - name: production
        dynamic_payload: {enabled: true, inputs: {a: {type: string}}}
    """
    found = tightened("payload: {a: 1}", head)
    assert payload_of(found.environment, {}) == {"a": 1}
    says = f"{line(4)} says inputs a; the operator's payload wins"
    assert lines_of(found, "dynamic_payload") == [("none", DEFAULT, says)]
    assert payload_of(tightened("", head).environment, {"a": "b"}) == {"a": "b"}


def test_the_operators_values_win_and_gates_add_up() -> None:
    own = (
        "task: build, auto_merge: false, required_contexts: [build, ci], deployable_ref: '^v[0-9]',"
        " auto_deploy_on: '^refs/tags/', production_environment: true,"
        " frozen_windows: [{from: 2026-12-23, to: 2027-01-02, reason: holidays}]"
    )
    found = tightened(own, HEAD)
    env = found.environment
    assert (env.task, env.auto_merge) == ("build", False)
    assert env.required_contexts == ("build", "ci", "lint")
    assert deployable_refs(env) == ("^v[0-9]", "^v")
    assert env.auto_deploy_on == ("^refs/tags/", "^refs/tags/v.*")
    says = f"{line(3)} says deploy:k8s; the operator's value wins"
    assert lines_of(found, "task") == [("build", OPERATOR, says)]
    assert lines_of(found, "required_contexts") == [
        ("build, ci, lint", f"{OPERATOR} and {line(6)}", "")
    ]
    assert [one[1] for one in lines_of(found, "frozen_windows")] == [OPERATOR, line(13)]


def test_what_would_loosen_is_ignored_and_said() -> None:
    own = "review: {enabled: true, reviewers: [mona, hubot], count: 2}, required_contexts: [ci]"
    head = """\
    envs:
      - name: production
        required_contexts: []
        production_environment: false
        serialization: false
        review: {enabled: false, reviewers: [eve]}
        frozen_windows: []
        break_glass: [eve]
        creators: ["*"]
    """
    found = tightened(own, head)
    assert found.environment == operators(own)
    loosens = "says false; it would loosen what the operator's file says"
    assert lines_of(found, "production_environment") == [("true", DEFAULT, f"{line(4)} {loosens}")]
    assert lines_of(found, "serialization") == [("true", DEFAULT, f"{line(5)} {loosens}")]
    assert lines_of(found, "review") == [("2 of mona, hubot", OPERATOR, f"{line(6)} {loosens}")]
    assert lines_of(found, "required_contexts") == [("ci", OPERATOR, "")]


def test_pushes_of_people_are_deployed_where_people_may_deploy() -> None:
    head = "envs: [{name: production, auto_deploy_on: ^refs/heads/main$}]"
    for creators in ("[people]", "['*']"):
        found = tightened(f"creators: {creators}", head)
        assert found.environment.auto_deploy_on == ("^refs/heads/main$",)
    found = tightened("creators: [github-actions, deploy-bot]", head)
    assert found.environment.auto_deploy_on == ()
    [(value, origin, ignored)] = lines_of(found, "auto_deploy_on")
    assert (value, origin) == ("none", DEFAULT)
    assert ignored == (
        f"{line(1)} says ^refs/heads/main$; the operator's creators leave people out, whose pushes"
        " these are"
    )
    # It is for all of the repository, so that no commit has a say.
    assert tightened("", "envs: [{name: production}]", head).environment.auto_deploy_on == ()


@pytest.mark.parametrize(
    ("own", "head", "shown", "denial"),
    [
        ("", "reviewers: [mona, hubot]", "1 of mona, hubot", ""),
        ("reviewers: [Mona, hubot]", "reviewers: [mona, eve]", "1 of mona", ""),
        ("reviewers: [mona, hubot], count: 2", "reviewers: [hubot, mona]", "2 of hubot, mona",
         ""),
        ("reviewers: [mona, hubot]", "reviewers: [hubot, mona], count: 2", "2 of hubot, mona",
         ""),
        ("teams: [acme/sre], reviewers: [mona]", "reviewers: [eve, mona]", "1 of eve, mona", ""),
        ("reviewers: [mona]", "reviewers: [eve]", "1 of nobody",
         f"Needs 1 approval, and nobody may give one by both files: {line(3)}"),
        ("reviewers: [mona, hubot], count: 2", "reviewers: [hubot]", "2 of hubot",
         f"Needs 2 approvals, and only hubot may give one by both files: {line(3)}"),
        ("teams: [acme/sre]", "reviewers: [eve], count: 2", "2 of eve",
         f"Needs 2 approvals, and only eve may give one by both files: {line(3)}"),
        ("", "reviewers: [eve], count: 2", "2 of eve",
         f"Needs 2 approvals, and only eve may give one: {line(3)}"),
    ],
)  # fmt: skip
def test_reviewers_are_those_of_both(own: str, head: str, shown: str, denial: str) -> None:
    own = f"review: {{enabled: true, {own}}}" if own else ""
    text = f"envs:\n- name: production\n  review: {{enabled: true, {head}}}"
    found = tightened(own, text)
    [(value, _, ignored)] = lines_of(found, "review")
    assert (value, ignored, found.denial) == (shown, "", denial)
    if denial:
        assert found.way_out.startswith("Name ")
        # The gate of the review would say the same once more.
        assert review_of(found.environment) == review_of(operators(own))


def approved(by: str, environment: Environment, **changes: object) -> Approval:
    given = Approval(
        id=1,
        deployment_id=CANDIDATE.id,
        sha=CANDIDATE.sha,
        policy=review_of(environment).digest,
        user_id=100 + len(by),
        login=by,
        approved=True,
        comment="",
        at=NOW,
    )
    return replace(given, **changes)  # type: ignore[arg-type]


def test_only_those_whom_both_name_may_approve_while_the_operators_may_still_reject() -> None:
    own = "review: {enabled: true, reviewers: [mona], teams: [acme/sre]}"
    head = "envs: [{name: production, review: {enabled: true, reviewers: [Eve, hubot]}}]"
    env = tightened(own, head).environment
    review = review_of(env)
    assert isinstance(review, NarrowedReview)
    assert (review.reviewers, review.teams) == (("mona",), ("acme/sre",))
    assert review.digest != review_of(operators(own)).digest
    other = head.replace("Eve", "cleo")
    assert review.digest != review_of(tightened(own, other).environment).digest

    def verdict(*approvals: Approval) -> object:
        snapshot = Snapshot(candidate=CANDIDATE, environment=env, now=NOW, approvals=approvals)
        return APPROVAL.decide(snapshot)

    waits = verdict(approved("mona", env))
    assert isinstance(waits, Wait)
    # hubot asked for it; nobody knows here who is in the team.
    assert (waits.asks, waits.way_out) == (("Eve",), "Reviewers: Eve")
    assert verdict(approved("eve", env)) == ALLOW
    assert verdict(approved("eve", operators(own))) != ALLOW
    no = approved("mona", env, approved=False)
    assert "Rejected by mona" in str(verdict(no))


def test_the_copy_at_the_commit_adds_gates_and_no_more() -> None:
    head = """\
    envs:
      - name: production
        task: head
        deployable_ref: ^v
        review: {enabled: true, reviewers: [mona, eve]}
    """
    at_sha = """\
    envs:
      - name: production
        task: old
        required_contexts: [ci]
        serialization: true
        review: {enabled: true, reviewers: [eve]}
    """
    found = tightened("serialization: false", head, at_sha)
    env = found.environment
    assert (env.task, env.required_contexts, deployable_refs(env)) == ("head", ("ci",), ("^v",))
    copy = " at the deployment's commit"
    assert lines_of(found, "serialization") == [("true", line(5, copy), "")]
    assert lines_of(found, "review") == [("1 of eve", f"{line(5)} and {line(6, copy)}", "")]
    # An old commit must stay one to which people can return.
    for old in ("review: {enabled: true, reviewers: [gone]}", "approval: {enabled: true}"):
        found = tightened(
            "", head if "gone" in old else None, f"envs: [{{name: production, {old}}}]"
        )
        [(value, _, ignored)] = lines_of(found, "review")
        assert (value, found.denial) == ("1 of mona, eve" if "gone" in old else "none", "")
        assert ignored == f"{line(1, copy)} leaves too few who may approve, and adds nothing"
    # One that is invalid, or has no such environment, adds nothing.
    invalid = tightened("", head, "envs: [{name: production, deployable_ref: (}]")
    assert invalid.environment == tightened("", head).environment
    assert [one.ignored for one in invalid.lines if one.key == "deploy.yml"] == [
        "the copy at the deployment's commit is invalid, and adds nothing"
    ]
    assert tightened("", head, "envs: [{name: stage}]") == tightened("", head)
    assert tightened("", None, "envs: [{name: production, deployable_ref: ^x}]").environment


def test_a_file_that_is_invalid_denies_what_it_concerns() -> None:
    head = """\
    envs:
      - name: staging
        serialization: maybe
      - name: Production
        deployable_ref: (main
        frozen_windows: [{start: "* * * * *"}]
    """
    found = tightened("", head)
    assert found.environment == operators()
    assert found.denial == (
        "The repository's deploy.yml is invalid, line 5, column 21: envs[1].deployable_ref: '(main'"
        " is not a pattern of RE2 (missing ): (main); see github.com/google/re2/wiki/Syntax"
        " (and 1 more)"
    )
    assert found.way_out == "Correct deploy.yml at the head of the default branch"
    assert tightened("", head.replace("Production", "prod")).denial == ""
    assert tightened("", "envs: [{nam: production, task: x}]").denial.endswith(
        "line 1, column 8: envs[0]: has no name; write name: production, as GitHub calls the"
        " environment"
    )
    # Which environment that is, nobody knows; a variable in a comment excuses nothing.
    unnamed = tightened("", "envs: [{name: '${ENVIRONMENT}', serialization: true}]")
    assert "${ENVIRONMENT} is not a variable of Gitploy's" in unnamed.denial
    text = "envs: [{name: production, serialization: ERR_NOT_IMPLEMENTED}] # ${ENVIRONMENT}"
    assert "must be true or false" in tightened("", text).denial
    # To Gitploy they are two, of which the second has a gate.
    twice = tightened("", "envs: [{name: Production}, {name: production, serialization: true}]")
    assert twice.denial.endswith("is in line 1 in another spelling; remove one")
    assert tightened("", "envs: [{name: production}, {name: production}]").denial == ""
    assert tightened("", "envs: {}").denial.startswith(
        "The repository's deploy.yml is invalid, line 1, column 7: envs: must be a list; write"
    )


def test_an_environment_that_it_does_not_have_is_said() -> None:
    found = tightened("", "envs: [{name: prodution}, {name: staging}]")
    assert found.environment == operators()
    assert found.lines[0] == Line(
        "deploy.yml", "", "",
        "has no environment 'production', and tightens nothing; it has prodution, staging;"
        " did you mean 'prodution'?",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("own", "approval", "shown", "denial"),
    [
        ("reviewers: [mona, eve]", "{enabled: true, required_count: 2}", "2 of mona, eve", ""),
        ("reviewers: [mona, eve]", "{enabled: true}", "1 of mona, eve", ""),
        ("", "{approvers: [mona], required_count: 0}", "1 of mona", ""),
        ("", "{enabled: false, required_count: 1}", "none", ""),
        ("", "{enabled: true, required_count: 0}", "1 of nobody",
         "The repository's deploy.yml, line 3 asks for approval, and neither file says of whom"),
    ],
)  # fmt: skip
def test_gitploys_older_approval_never_becomes_none(
    own: str, approval: str, shown: str, denial: str
) -> None:
    own = f"review: {{enabled: true, {own}}}" if own else ""
    found = tightened(own, f"envs:\n- name: production\n  approval: {approval}")
    assert (lines_of(found, "review")[0][0], found.denial) == (shown, denial)


LOGINS = st.lists(st.sampled_from(["mona", "Eve", "cleo"]), min_size=1, max_size=3, unique=True)
BOOLEANS = st.sampled_from(["", "true", "false"])
PATTERNS = st.sampled_from(["", "^v", "main", "^release/"])
PUSHED = st.sampled_from(["", "^refs/tags/v", "main", "/release/"])
WINDOWS = st.sampled_from(
    ["", '{start: "0 12 * * FRI", duration: 1h}', '{start: "* * 1 1 *", duration: 1h}']
)


@st.composite
def keys(draw: st.DrawFn, *, operator: bool) -> str:
    """Some of an environment's, valid."""
    found = []
    for key, strategy in (
        ("serialization", BOOLEANS),
        ("production_environment", BOOLEANS),
        ("deployable_ref", PATTERNS),
        ("auto_deploy_on", PUSHED),
    ):
        if value := draw(strategy):
            found.append(f"{key}: {value}")
    if window := draw(WINDOWS):
        found.append(f"frozen_windows: [{window}]")
    found.append(f"required_contexts: [{draw(st.sampled_from(['', 'ci', 'ci, lint']))}]")
    logins, teams = draw(LOGINS), draw(st.sampled_from(["", "acme/sre"])) if operator else ""
    count = draw(st.integers(1, 2))
    if count <= len(logins) or teams:
        enabled = draw(st.sampled_from(["true", "true", "false"]))
        team = f", teams: [{teams}]" if teams else ""
        review = f"enabled: {enabled}, reviewers: [{', '.join(logins)}], count: {count}{team}"
        found.append(f"review: {{{review}}}")
    if not operator and draw(st.integers(0, 3)) == 0:
        found.append("approval: {enabled: true}")
    return ", ".join(found)


@settings(max_examples=100, deadline=None)
@given(
    own=keys(operator=True),
    head=keys(operator=False),
    at_sha=st.none() | keys(operator=False),
    ref=st.sampled_from(["main", "v1", "release/1", "topic"]),
    answers=LOGINS,
    asker=st.sampled_from(["", "mona", "octocat"]),
    runs=st.booleans(),
    hours=st.integers(-24, 24),
)
def test_what_is_allowed_is_allowed_by_the_operator_too(
    own: str,
    head: str,
    at_sha: str | None,
    ref: str,
    answers: list[str],
    asker: str,
    runs: bool,
    hours: int,
) -> None:
    before = operators(own)
    texts = [one and f"envs: [{{name: production, {one}}}]" for one in (head, at_sha)]
    files = [read(text.encode()) if text is not None else None for text in texts]
    assert not any(file and file.errors for file in files)
    found = tighten(before, files[0], files[1], "production")
    after = found.environment
    for key in ("handler", "options", "creators", "break_glass", "repos", "timeout", "wait_limit"):
        assert getattr(after, key) == getattr(before, key)
    assert {*before.required_contexts} <= {*after.required_contexts}
    assert {*before.auto_deploy_on} <= {*after.auto_deploy_on}
    was, is_now = (
        is_production("production", one.production_environment) for one in (before, after)
    )
    assert is_now or not was
    if found.denial:
        return
    neighbours = (Neighbour(id=6, ref="main", running=True, ready=True),) if runs else ()
    candidate = replace(CANDIDATE, ref=ref, asker=asker, asker_id=0)
    for gate in GATES.values():
        verdicts = [
            gate.decide(
                Snapshot(
                    candidate=candidate,
                    environment=one,
                    now=datetime(2026, 11, 27, 12, tzinfo=UTC) + timedelta(hours=hours),
                    neighbours=neighbours,
                    approvals=tuple(
                        approved(login.lower(), one, id=number, user_id=number)
                        for number, login in enumerate(answers, 1)
                    ),
                )
            )
            for one in (after, before)
        ]
        assert verdicts[0] != ALLOW or verdicts[1] == ALLOW, gate.name
