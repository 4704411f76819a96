"""Every handler in HANDLERS follows the contract."""

import inspect
from datetime import timedelta
from typing import Any, get_type_hints

import pytest

from handlers import HANDLERS, contract
from handlers.contract import Deployment, Handler, KeepsOutput, Pace, Run
from webhook.config import environments

NAMES = sorted(HANDLERS)
every_handler = pytest.mark.parametrize("name", NAMES)
ACTS = {
    "find": ({"deployment": Deployment}, Run | None),
    "start": ({"deployment": Deployment}, Run),
    "check": ({"deployment": Deployment, "run": Run}, Run),
    "cancel": ({"deployment": Deployment, "run": Run}, type(None)),
}


@every_handler
def test_a_handler_has_a_name_that_deploy_yml_can_give_it(name: str) -> None:
    assert name.replace("-", "_").isidentifier()
    assert name == name.lower()


@every_handler
def test_its_options_are_strict_and_reject_unknown_keys(name: str) -> None:
    options = HANDLERS[name].Options
    assert issubclass(options, contract.Options)
    for setting in ("extra", "frozen", "strict"):
        assert options.model_config.get(setting) == contract.Options.model_config.get(setting)


@every_handler
def test_its_options_are_described_in_the_schema_for_editors(name: str) -> None:
    assert environments.json_schema({name: HANDLERS[name].Options})["$schema"]


@every_handler
def test_it_declares_where_its_runs_live(name: str) -> None:
    assert isinstance(HANDLERS[name].local, bool)


@every_handler
def test_it_is_checked_at_a_sane_pace(name: str) -> None:
    pace = HANDLERS[name].pace
    assert isinstance(pace, Pace)
    assert 0 < pace.least <= pace.most <= 60


@every_handler
def test_it_declares_how_long_an_accepted_run_may_stay_hidden(name: str) -> None:
    within = HANDLERS[name].appears_within
    assert isinstance(within, timedelta)
    assert timedelta(0) <= within <= timedelta(minutes=10)


@every_handler
@pytest.mark.parametrize("act", ACTS)
def test_it_can_find_start_check_and_cancel(name: str, act: str) -> None:
    method = getattr(HANDLERS[name], act)
    names, given = ACTS[act]
    hints = get_type_hints(method)
    assert inspect.iscoroutinefunction(method)
    assert hints.pop("return") == given
    assert hints == names
    assert list(inspect.signature(method).parameters)[1:] == list(names)


@every_handler
def test_it_is_created_from_its_options_and_the_context(name: str) -> None:
    """Nothing else, so that another process can create the same."""
    parameters = list(inspect.signature(HANDLERS[name].__init__).parameters)
    assert parameters == ["self", "options", "context"]


@pytest.mark.parametrize("name", [n for n in NAMES if issubclass(HANDLERS[n], KeepsOutput)])
def test_output_is_read_as_bytes_from_an_offset(name: str) -> None:
    handler: Any = HANDLERS[name]
    expected = {"deployment": Deployment, "offset": int, "return": bytes}
    assert get_type_hints(handler.read_output) == expected


def test_the_contract_has_nothing_that_is_not_checked_here() -> None:
    received = {name for name in vars(Handler) if not name.startswith("_")}
    assert received | set(get_type_hints(Handler)) == {
        *ACTS,
        "Options",
        "local",
        "pace",
        "appears_within",
    }
