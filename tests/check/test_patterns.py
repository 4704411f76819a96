"""`python -m webhook check` of patterns."""

from tests.config.test_load import config
from webhook.check.patterns import check_patterns


def test_those_that_match_more_than_they_seem_to_are_named() -> None:
    loaded = config(
        "envs:\n"
        "- {name: a, handler: command, deployable_ref: main, auto_deploy_on: ^refs/heads/main$}\n"
        "- {name: b, handler: command, auto_deploy_on: refs/tags/v.*}\n"
    )
    anywhere = "is found anywhere in the name of a ref, as main is in maintenance"
    assert [one.message for one in check_patterns(loaded)] == [
        f"a: deployable_ref main {anywhere}; write ^(main)$ if it stands for the whole name",
        f"b: auto_deploy_on refs/tags/v.* {anywhere}; write ^(refs/tags/v.*)$ if it"
        " stands for the whole name",
    ]
