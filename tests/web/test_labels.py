"""The page and Slack use the same label for the same state."""

from dataclasses import replace
from typing import Any

import pytest
from flask.testing import FlaskClient

from handlers.contract import Run, State
from tests.slack.notices import BEGIN, RUNNING, new_entry, read
from tests.web.viewing import Rows, open_page
from webhook.deployments.labels import phase_label
from webhook.deployments.phases import Phase
from webhook.slack.blocks.message import main_message, thread_reply

STARTED: dict[str, Any] = {"run": Run("1", State.IN_PROGRESS)}
STATES = [
    *((phase, False, True) for phase in Phase),
    (Phase.ERROR, False, False),
    (Phase.QUEUED, True, False),
    (Phase.IN_PROGRESS, True, True),
]


@pytest.mark.parametrize(("phase", "held", "started"), STATES)
def test_page_and_slack_label_a_deployment_alike(
    rows: Rows, browser: FlaskClient, phase: Phase, held: bool, started: bool
) -> None:
    rows.deployment()
    rows.new_entry(state="in_progress", held=held)
    ended = BEGIN if phase.final else None
    rows.change(phase=phase, ended_at=ended, **(STARTED if started else {}))
    label = phase_label(phase, held=held, started=started)
    assert open_page(browser).text.startswith(f"{label.text.capitalize()}: acme/web to staging")
    notice = replace(RUNNING, phase=phase, held=held, started=started)
    assert read(main_message(notice))[0].startswith(
        f"{label.sign} acme/site to production {label.text}"
    )


@pytest.mark.parametrize("started", [True, False])
@pytest.mark.parametrize(
    ("state", "held"),
    [
        *((phase.value, False) for phase in Phase if phase is not Phase.SEEN),
        ("in_progress", True),
        ("pending", False),
        ("half_done", False),
    ],
)
def test_page_and_slack_label_a_timeline_entry_alike(
    rows: Rows, browser: FlaskClient, state: str, held: bool, started: bool
) -> None:
    rows.deployment()
    if started:
        rows.change(**STARTED)
    rows.new_entry(state=state, held=held)
    notice = replace(RUNNING, started=started)
    [line] = read(thread_reply(notice, [new_entry(state, held=held)], broadcast=False))
    _, _, text = line.partition("UTC  ")[2].partition(" ")
    assert f" {text.capitalize()} " in open_page(browser).text.partition("Timeline")[2]
