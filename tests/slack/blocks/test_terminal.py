"""Messages in a terminal read as they do in Slack."""

from datetime import UTC, datetime

import pytest
from slack_sdk.models.blocks import ActionsBlock, Block, ButtonElement, HeaderBlock

from sandbox.slack.model import Message
from sandbox.slack.screen import render
from webhook.slack.blocks.mrkdwn import bold, context, escape, link, section, when
from webhook.slack.blocks.terminal import plain_text

AT = datetime(2026, 11, 22, 3, 4, 5, tzinfo=UTC)
SITE = link("https://github.com/acme/site", "acme/site")
BUTTONS = ActionsBlock(
    elements=[
        ButtonElement(text="Roll back to v1 *now*", action_id="rollback"),
        ButtonElement(text="Logs", action_id="logs", url="https://relay.acme.io"),
    ]
)


@pytest.mark.parametrize(
    ("blocks", "shown"),
    [
        ([section(f"{SITE} to {bold('eu')} failed · <!here>")], "acme/site to eu failed · @here"),
        ([section("<@U012AB3CD> and <!subteam^S1>")], "@U012AB3CD and @subteam"),
        (
            [section(f"{when(AT)} running\nsnake_case 2*3*4")],
            "03:04:05 UTC running\nsnake_case 2*3*4",
        ),
        ([section(escape("<b> &amp; `x` *y* @ada", 100))], None),
        ([*context([SITE, "by octocat"]), BUTTONS], None),
        ([BUTTONS], "[Roll back to v1 *now*] [Logs]"),
        ([], ""),
    ],
)
def test_it_reads_as_it_does_in_slack(blocks: list[Block], shown: str | None) -> None:
    text = plain_text(blocks)
    assert text == render(Message("1.0", "U1", "", [block.to_dict() for block in blocks]))
    assert shown in (None, text)


def test_a_block_that_the_relay_does_not_write_is_an_error() -> None:
    with pytest.raises(ValueError, match="no block of type header"):
        plain_text([HeaderBlock(text="Deploy")])
