"""The recipe's workflows wait in the environment that its deploy.yml lets the gates answer for."""

from typing import Any

import pytest
import yaml

from tests.docs.test_docs import blocks, examples, load
from webhook.config.routing import route

PAGE = "docs/protection-rules.md"
TEXTS = [text for language, text in blocks(PAGE) if language == "yaml"]
WORKFLOWS: list[Any] = [one for one in map(yaml.safe_load, TEXTS) if "jobs" in one]


def test_both_kinds_of_workflows_are_there() -> None:
    # YAML 1.1 reads the key as true.
    assert [one[True] for one in WORKFLOWS] == [{"push": {"branches": ["main"]}}, "deployment"]


@pytest.mark.parametrize("workflow", WORKFLOWS)
def test_its_environment_is_answered_for(workflow: Any) -> None:
    [example] = examples(PAGE)
    [job] = workflow["jobs"].values()
    environment = route(load(example, PAGE, {}), "acme/shop", job["environment"])
    assert environment is not None
    assert environment.protection_rule
    assert environment.can_be_held
