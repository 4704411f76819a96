"""What `github-actions` accepts under `with:` in deploy.yml, and its messages for the rest."""

from datetime import timedelta
from typing import Any

import pytest

from handlers.github_actions import GitHubActionsOptions
from webhook.config.load import load
from webhook.errors import ConfigErrors


def options(with_: str) -> GitHubActionsOptions:
    text = f"envs:\n  - name: production\n    handler: github-actions\n    with: {with_}\n"
    known = {"github-actions": GitHubActionsOptions}
    [environment] = load(text, source="deploy.yml", environ={}, handler_options=known).envs
    assert isinstance(environment.options, GitHubActionsOptions)
    return environment.options


def test_nothing_is_needed_to_watch() -> None:
    given = options("{}")
    assert (given.mode, given.workflow) == ("watch", None)
    assert given.start_within == timedelta(minutes=2)
    assert given.status_within == timedelta(seconds=30)
    assert dict(given.permissions()) == {"actions": "read"}
    assert list(given.events()) == ["workflow_run", "workflow_job"]


def test_a_dispatch_needs_a_workflow_and_the_right_to_start_it() -> None:
    given = options('{mode: dispatch, workflow: deploy.yml, inputs: {sha: "{sha}"}}')
    assert (given.ref, given.correlation, given.inputs) == (
        "{ref}",
        "deployment_id",
        {"sha": "{sha}"},
    )
    assert dict(given.permissions()) == {"actions": "write"}


def many(count: int) -> str:
    return ", ".join(f"i{n}: x" for n in range(count))


@pytest.mark.parametrize(
    ("with_", "message"),
    [
        ("{mode: guess}", "'guess' is not one of 'watch' or 'dispatch'"),
        ("{mode: dispatch}", "'mode: dispatch' needs 'workflow'"),
        ("{workflow: Deploy}", "'Deploy' is not the name of a workflow's file; write deploy.yml"),
        ("{workflow: ../deploy.yml}", "is not the name of a workflow's file"),
        ("{ref: main}", "ref: only with 'mode: dispatch'"),
        ("{inputs: {a: b}, correlation: id}", "inputs, correlation: only with 'mode: dispatch'"),
        ("{mode: dispatch, workflow: d.yml, status_within: 5s}", "only with 'mode: watch'"),
        ("{mode: dispatch, workflow: d.yml, inputs: {a: 1}}", "put it in quotes"),
        ('{mode: dispatch, workflow: d.yml, inputs: {a: "{reff}"}}', "unknown placeholder"),
        ('{mode: dispatch, workflow: d.yml, inputs: {"a b": c}}', "is not the name of an input"),
        ("{mode: dispatch, workflow: d.yml, inputs: {deployment_id: x}}", "leave it out"),
        (
            '{mode: dispatch, workflow: d.yml, inputs: {t: "{report_token}"}}',
            "inputs of workflows are not kept secret",
        ),
        (f"{{mode: dispatch, workflow: d.yml, inputs: {{{many(25)}}}}}", "GitHub takes 25 inputs"),
        ("{start_within: soon}", "'soon' is not a duration"),
        ("{workflows: deploy.yml}", "did you mean 'workflow'?"),
    ],
)
def test_what_does_not_fit_is_rejected_with_the_remedy(with_: str, message: str) -> None:
    with pytest.raises(ConfigErrors) as caught:
        options(with_)
    [error] = caught.value.errors
    assert message in error


def test_24_inputs_and_the_deployments_id_are_githubs_maximum() -> None:
    given: Any = options(f"{{mode: dispatch, workflow: d.yaml, inputs: {{{many(24)}}}}}")
    assert len(given.inputs) == 24
