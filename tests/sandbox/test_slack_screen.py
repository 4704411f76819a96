"""Messages as plain text, as a user reads them in Slack."""

from typing import Any

import pytest

from sandbox.slack.model import EphemeralMessage, Message
from sandbox.slack.screen import mrkdwn, render


@pytest.mark.parametrize(
    ("source", "shown"),
    [
        ("*bold* and _italic_ and ~gone~", "bold and italic and gone"),
        ("*_both_*", "both"),
        ("snake_case_name 2*3*4", "snake_case_name 2*3*4"),
        ("<https://a.test|the logs>", "the logs"),
        ("<https://a.test>", "https://a.test"),
        ("*<https://a.test|web>*", "web"),
        ("<@U123> <!here> <#C1|deploys>", "@U123 @here #deploys"),
        ("<!subteam^S1|@oncall>", "@oncall"),
        ("<!date^1^{time}|12:00>", "12:00"),
        ("<!date^1^{date_short} at {time}^https://a.test|on 1 May>", "on 1 May"),
        ("&lt;b&gt; &amp;amp;", "<b> &amp;"),
        ("`*code*` and ```_more_```", "*code* and _more_"),
        ("<https://a.test/a_b_c|x>", "x"),
    ],
)
def test_mrkdwn_reads_like_text(source: str, shown: str) -> None:
    assert mrkdwn(source) == shown


def test_a_message_reads_like_its_blocks() -> None:
    plain = {"type": "plain_text", "text": "Go *now*"}
    bold = {"type": "mrkdwn", "text": "*web*"}
    image = {"type": "image", "image_url": "https://a.test", "alt_text": "face"}
    rich = {"type": "rich_text_section", "elements": [{"type": "text", "text": "rich"}]}
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": plain},
        {"type": "section", "text": bold, "fields": [bold, plain]},
        {"type": "section", "text": bold, "accessory": {"type": "button", "text": plain}},
        {"type": "divider"},
        {"type": "context", "elements": [image, bold]},
        {"type": "actions", "elements": [{"type": "button", "text": plain}, {"type": "overflow"}]},
        {"type": "rich_text", "elements": [rich]},
        image,
        {"type": "input", "label": plain, "element": {"type": "plain_text_input"}},
        {"type": "video"},
    ]
    assert render(Message("1.0", "U1", "not shown", blocks)).splitlines() == [
        "Go *now*",
        "web",
        "web",
        "Go *now*",
        "web",
        "[Go *now*]",
        "---",
        "[face]  web",
        "[Go *now*] [overflow]",
        "rich",
        "[face]",
        "Go *now*: [plain_text_input]",
        "[video]",
    ]


def test_a_message_without_blocks_reads_like_its_text() -> None:
    assert render(Message("1.0", "U1", "*a*")) == "a"


def test_people_are_mentioned_by_name_where_they_are_known() -> None:
    message = Message("1.0", "U1", "<@U00000001> asked <@U00000002>")
    assert render(message, {"U00000001": "ada"}) == "@ada asked @U00000002"


def test_an_ephemeral_message_reads_like_a_message() -> None:
    assert render(EphemeralMessage("U1", "C1", "_psst_")) == "psst"
