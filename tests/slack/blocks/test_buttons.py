"""The buttons of a message, and what a person confirms."""

from dataclasses import replace

from tests.slack.notices import PAGE, RUNNING, SHA, buttons_of, offering
from webhook.deployments.notice import DeploymentNotice
from webhook.slack.blocks.message import main_message

ALL = offering(RUNNING, "rollback", "logs", "retry", "cancel", "retry", "else")


def confirmation(notice: DeploymentNotice, action: str) -> str:
    message = main_message(offering(notice, action))
    return str(buttons_of(message)[action]["confirm"]["text"]["text"])


def test_only_what_makes_sense_is_offered_and_logs_with_it() -> None:
    assert buttons_of(main_message(RUNNING)) == {}
    assert list(buttons_of(main_message(offering(RUNNING, "cancel")))) == [
        "cancel",
        "logs",
    ]
    assert list(buttons_of(main_message(ALL))) == ["cancel", "retry", "rollback", "logs"]


def test_a_press_names_the_deployment() -> None:
    buttons = buttons_of(main_message(ALL))
    logs = buttons.pop("logs")
    assert {button["value"] for button in buttons.values()} == {"7"}
    assert "value" not in logs
    assert logs["url"] == PAGE
    styles = {action: button.get("style") for action, button in buttons.items()}
    assert styles == {"cancel": "danger", "retry": None, "rollback": "danger"}


def test_a_page_without_an_address_has_no_button() -> None:
    assert list(buttons_of(main_message(replace(ALL, page_url="https://")))) == [
        "cancel",
        "retry",
        "rollback",
    ]


def test_a_confirmation_describes_the_effect() -> None:
    assert confirmation(ALL, "cancel") == (
        "Stop deploying v1.3 @ 4f2c9d1 of acme/site to production? What is done by then stays done."
    )
    assert confirmation(ALL, "retry") == "Deploy v1.3 @ 4f2c9d1 of acme/site to production again?"
    assert confirmation(ALL, "rollback") == "Roll back production of acme/site to v1.2 @ 9a8b7c6?"


def test_production_is_named_whatever_it_is_called() -> None:
    notice = replace(ALL, environment="eu-west", ref=SHA, rollback_to="")
    assert (
        confirmation(notice, "retry")
        == "Deploy 4f2c9d1 of acme/site to eu-west (production) again?"
    )
    assert confirmation(notice, "rollback") == (
        "Roll back eu-west (production) of acme/site to its last success?"
    )


def test_a_retry_outside_production_needs_no_confirmation() -> None:
    buttons = buttons_of(
        main_message(
            offering(
                replace(RUNNING, environment="staging", production=False),
                "cancel",
                "retry",
                "rollback",
            )
        )
    )
    assert {action for action, button in buttons.items() if "confirm" in button} == {
        "cancel",
        "rollback",
    }


def test_a_long_branch_does_not_hide_the_commit() -> None:
    notice = replace(ALL, ref="b" * 300, rollback_to=f"{'c' * 300} @ 9a8b7c6")
    assert f"{'b' * 49}… @ 4f2c9d1" in confirmation(notice, "retry")
    assert confirmation(notice, "rollback").endswith(f"{'c' * 49}… @ 9a8b7c6?")
