"""What holds for every notifier."""

import inspect
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import webhook.notifiers
from handlers import HANDLERS
from tests.notifiers.written import message
from tests.slack.notices import RUNNING, new_entry
from webhook.config.destinations import Destination, targets_of
from webhook.config.environments import json_schema
from webhook.notifiers import DESTINATIONS, NOTIFIERS
from webhook.notifiers.contract import Notifier, NotifierContext, Ref, Shows

PACKAGE = Path(webhook.notifiers.__file__).parent
ASYNC = ("prepare", "find", "findable", "send", "edit")


def follows(notifier: Any) -> None:
    """The contract."""
    assert notifier.title
    assert isinstance(notifier.edits, bool)
    assert isinstance(notifier.threads, bool)
    assert issubclass(notifier.Destination, Destination)
    for method in (*ASYNC, "digest", "__init__"):
        expected = inspect.signature(getattr(Notifier, method)).parameters
        assert list(inspect.signature(getattr(notifier, method)).parameters) == list(expected)
    assert all(inspect.iscoroutinefunction(getattr(notifier, method)) for method in ASYNC)


@pytest.mark.parametrize("name", sorted(NOTIFIERS))
def test_it_follows_the_contract(name: str) -> None:
    follows(NOTIFIERS[name])


@pytest.mark.parametrize("name", sorted(NOTIFIERS))
def test_it_shows_what_it_would_send(name: str, context: NotifierContext) -> None:
    secret = "whsec_" + "c2VjcmV0" * 4
    given = {
        "slack": {"channel": "#deploys"},
        "discord": {"url": "https://discord.test/api/webhooks/1/the-secret-of-the-channel"},
        "webhook": {"url": "https://acme.io/the-secret-path", "secret": secret},
    }[name]
    destination = DESTINATIONS[name].model_validate(given)
    notifier = NOTIFIERS[name](destination, replace(context, rooms={"slack": None}))
    assert isinstance(notifier, Shows)
    entry = new_entry("in_progress", "Running")
    shown = notifier.shown(message(RUNNING, entries=(entry,)))
    assert RUNNING.repo in shown
    assert "in progress" in shown
    assert "the-secret" not in shown
    assert secret not in shown


@pytest.mark.parametrize("name", sorted(DESTINATIONS))
def test_its_destinations_have_both_addresses_and_slacks_filters(name: str) -> None:
    model = DESTINATIONS[name]
    assert {*model.ADDRESSES, "repos", "states", "only"} <= model.model_fields.keys()
    assert all(field.description for field in model.model_fields.values())
    assert model.EXAMPLE.startswith("{")


@pytest.mark.parametrize("name", sorted(DESTINATIONS))
def test_editors_know_its_keys_at_the_top_and_in_an_environment(name: str) -> None:
    options = {name: handler.Options for name, handler in HANDLERS.items()}
    schema = json_schema(options, DESTINATIONS)
    shown: list[Any] = [schema, *(schema["$defs"][f"{one}_environment"] for one in HANDLERS)]
    assert all(name in one["properties"] for one in shown)
    assert DESTINATIONS[name].__name__ in schema["$defs"]


@pytest.mark.parametrize("name", sorted(NOTIFIERS))
def test_it_is_one_file_and_one_line(name: str) -> None:
    """And the line that imports it."""
    assert (PACKAGE / f"{name}.py").is_file()
    registry = (PACKAGE / "__init__.py").read_text()
    assert sum(NOTIFIERS[name].__name__ in line for line in registry.splitlines()) == 2


def test_each_address_is_one_target_and_its_name_distinguishes_notifiers() -> None:
    slack = DESTINATIONS["slack"](channel="#deploys", failures="#oncall")  # type: ignore[call-arg]
    again = DESTINATIONS["slack"](failures="#deploys")  # type: ignore[call-arg]
    elsewhere = DESTINATIONS["slack"](channel="#shop", repos=("acme/shop",))  # type: ignore[call-arg]
    hook = DESTINATIONS["webhook"](url="https://acme.io/1")  # type: ignore[call-arg]
    given = [("slack", slack), ("slack", again), ("slack", elsewhere), ("webhook", hook)]
    found = {target.name: target for target in targets_of(given, "acme/site")}
    assert [name.partition("#")[0] for name in found] == ["slack:", "webhook:acme.io", "slack:"]
    assert [target.main for target in found.values()] == [True, True, False]
    assert found["slack:#deploys"].destination is slack
    assert len(targets_of(given, "ACME/shop")) == 4


def test_a_slack_message_is_updated_after_its_channel_left_deploy_yml() -> None:
    left = DESTINATIONS["slack"].unlisted("T0123ABCD/#deploys")
    assert left is not None
    assert left.address(main=True) == "#deploys"
    assert left.name("#deploys") == "T0123ABCD/#deploys"
    assert DESTINATIONS["discord"].unlisted("1") is None


def test_a_ref_survives_the_store() -> None:
    ref = Ref({"message_id": "1"})
    assert Ref.from_json(ref.to_json()) == ref
    assert ref["message_id"] == "1"
