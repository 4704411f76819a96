"""Slack's rules for blocks: what passes at the limit is rejected beyond it."""

from typing import Any

import pytest

from sandbox.slack.block_kit import block_errors, total_text_length, view_errors

Block = dict[str, Any]


def mrkdwn(text: str = "a") -> Block:
    return {"type": "mrkdwn", "text": text}


def plain(text: str = "a") -> Block:
    return {"type": "plain_text", "text": text}


def section(**more: Any) -> Block:
    return {"type": "section", "text": mrkdwn()} | more


def actions(*elements: Block) -> Block:
    return {"type": "actions", "elements": list(elements)}


def button(**more: Any) -> Block:
    return {"type": "button", "text": plain()} | more


def confirm(**more: Any) -> Block:
    return {"title": plain(), "text": mrkdwn(), "confirm": plain(), "deny": plain()} | more


def option(value: str = "a", **more: Any) -> Block:
    return {"text": plain(), "value": value} | more


def menu(**more: Any) -> Block:
    return {"type": "static_select", "options": [option()]} | more


def groups(*options: Block) -> Block:
    group = {"label": plain("x" * 75), "options": list(options)}
    return {"type": "static_select", "option_groups": [group]}


def field(element: Block | None = None, **more: Any) -> Block:
    shown = element or {"type": "plain_text_input"}
    return {"type": "input", "label": plain(), "element": shown} | more


def view(*blocks: Block, **more: Any) -> Block:
    shown = {"type": "modal", "title": plain("x" * 24), "submit": plain()}
    return shown | {"blocks": list(blocks) or [field()]} | more


OPTIONS = [option(str(number), text=plain("x" * 75)) for number in range(100)]
IMAGE = {"type": "image", "image_url": "https://a.test/a.png", "alt_text": "a"}
RICH = {"type": "rich_text", "elements": [{"type": "rich_text_section", "elements": []}]}


@pytest.mark.parametrize(
    "blocks",
    [
        [section()] * 50,
        [section(text=mrkdwn("x" * 3000))],
        [section(fields=[mrkdwn("x" * 2000)] * 10)],
        [{"type": "section", "fields": [plain()]}],
        [section(accessory=button(url="https://a.test"))],
        [section(text={**plain(), "emoji": True}, block_id="x" * 255)],
        [section(text={**mrkdwn(), "verbatim": True}, expand=True)],
        [{"type": "header", "text": plain("x" * 150)}],
        [{"type": "divider"}],
        [{"type": "context", "elements": [mrkdwn()] * 9 + [IMAGE]}],
        [actions(*[button()] * 25)],
        [actions(button(text=plain("x" * 75), value="v" * 2000, url="u" * 3000))],
        [actions(button(style="danger", action_id="go", confirm=confirm()))],
        [IMAGE],
        [RICH],
        [actions(button(confirm=confirm(style="danger")), menu(options=OPTIONS))],
        [section(accessory=menu(initial_option=option(), placeholder=plain("x" * 150)))],
        [section(accessory=IMAGE)],
        [actions(groups(option("a"), option("v" * 150, description=plain("x" * 75))))],
        [actions({"type": "overflow", "options": OPTIONS[:5]})],
        [field(label=plain("x" * 2000), hint=plain("x" * 2000), optional=True)],
        [field({"type": "plain_text_input", "max_length": 3000, "multiline": True})],
        [field({"type": "checkboxes", "options": OPTIONS[:10]})],
        [field(menu())],
    ],
)
def test_good_blocks_pass(blocks: list[Block]) -> None:
    assert block_errors(blocks) == []


@pytest.mark.parametrize(
    ("blocks", "text"),
    [
        ("text", "must be an array [json-pointer:/blocks]"),
        ([section()] * 51, "no more than 50 items allowed [json-pointer:/blocks]"),
        ([{"type": "shout"}], "unsupported type: shout [json-pointer:/blocks/0/type]"),
        ([1], "unsupported type: None"),
        ([{"type": "section"}], "missing required field: text or fields"),
        ([section(text=mrkdwn(""))], "must be more than 0 characters"),
        ([section(text=mrkdwn("x" * 3001))], "must be less than 3001 characters"),
        ([section(text={"type": "mrkdwn"})], "missing required field: text"),
        ([section(text="a")], "unsupported type: None"),
        ([section(text={**mrkdwn(), "emoji": True})], "additional property not allowed: emoji"),
        ([section(fields=[])], "must have at least 1 item"),
        ([section(fields=[mrkdwn()] * 11)], "no more than 10 items allowed"),
        ([section(fields=[mrkdwn("x" * 2001)])], "[json-pointer:/blocks/0/fields/0/text]"),
        ([section(colour="red")], "additional property not allowed: colour"),
        ([section(block_id="x" * 256)], "must be less than 256 characters"),
        ([section(block_id="a"), section(block_id="a")], "block_id already exists: a"),
        ([section(accessory={"type": "lever"})], "unsupported type: lever"),
        ([{"type": "header", "text": mrkdwn()}], "unsupported type: mrkdwn"),
        ([{"type": "header", "text": plain("x" * 151)}], "must be less than 151 characters"),
        ([{"type": "header"}], "missing required field: text"),
        ([{"type": "divider", "text": plain()}], "additional property not allowed: text"),
        ([{"type": "context", "elements": [mrkdwn()] * 11}], "no more than 10 items allowed"),
        ([{"type": "context", "elements": [button()]}], "unsupported type: button"),
        ([actions()], "must have at least 1 item"),
        ([actions(*[button()] * 26)], "no more than 25 items allowed"),
        ([actions(button(text=mrkdwn()))], "unsupported type: mrkdwn"),
        ([actions(button(text=plain("x" * 76)))], "must be less than 76 characters"),
        ([actions(button(value="x" * 2001))], "must be less than 2001 characters"),
        ([actions(button(url="x" * 3001))], "must be less than 3001 characters"),
        ([actions(button(value=1))], "must be a string"),
        ([actions(button(style="blue"))], "must be one of: primary, danger"),
        ([actions(button(action_id="x" * 256))], "must be less than 256 characters"),
        ([actions(button(action_id="a"), button(action_id="a"))], "action_id already exists: a"),
        ([actions(button(confirm=confirm(title=mrkdwn())))], "/confirm/title]"),
        ([actions(button(confirm="sure?"))], "must be an object"),
        ([{"type": "image", "image_url": "https://a.test"}], "missing required field: alt_text"),
        ([{"type": "rich_text"}], "missing required field: elements"),
        ([actions(IMAGE)], "unsupported type: image"),
        ([actions(button(confirm=confirm(style="loud")))], "/confirm/style]"),
        ([actions(button(confirm=confirm(title=plain("x" * 101))))], "/confirm/title/text]"),
        ([actions(button(confirm=confirm(deny=plain("x" * 31))))], "/confirm/deny/text]"),
        ([actions(menu(options=[]))], "must have at least 1 item"),
        ([actions(menu(options=[*OPTIONS, option()]))], "no more than 100 items allowed"),
        ([actions(menu(options=[option(text=plain("x" * 76))]))], "less than 76 characters"),
        ([actions(menu(options=[option("x" * 151)]))], "less than 151 characters"),
        ([actions(menu(options=[option(), option()]))], "value already exists: a"),
        ([actions(menu(options=[option(text=mrkdwn())]))], "unsupported type: mrkdwn"),
        ([actions(menu(initial_option=option("b")))], "must be one of the options"),
        ([actions(menu(placeholder=plain("x" * 151)))], "less than 151 characters"),
        ([actions(menu() | groups(option()))], "must have one of: options, option_groups"),
        ([actions({"type": "static_select"})], "must have one of: options, option_groups"),
        ([actions(groups(option(), option()))], "/option_groups/0/options]"),
        ([actions({"type": "overflow", "options": OPTIONS[:6]})], "no more than 5 items"),
        ([field({"type": "radio_buttons", "options": OPTIONS[:11]})], "no more than 10 items"),
        ([field(button())], "unsupported type: button"),
        ([actions({"type": "plain_text_input"})], "unsupported type: plain_text_input"),
        ([field(label=mrkdwn())], "unsupported type: mrkdwn"),
        ([field(label=plain("x" * 2001))], "less than 2001 characters"),
        ([field(hint=plain("x" * 2001))], "less than 2001 characters"),
        ([field(optional="yes")], "must be a boolean"),
        ([field({"type": "plain_text_input", "max_length": 3001})], "between 1 and 3000"),
        ([field({"type": "plain_text_input", "min_length": "1"})], "must be an integer"),
        ([field({"type": "plain_text_input", "action_id": "x" * 256})], "less than 256"),
        ([{"type": "input", "label": plain()}], "missing required field: element"),
    ],
)
def test_bad_blocks_are_rejected(blocks: Any, text: str) -> None:
    [fault] = block_errors(blocks)
    assert text in fault


def test_good_views_pass() -> None:
    assert view_errors(view(*[section()] * 100, submit=None)) == []
    limits = {"private_metadata": "x" * 3000, "callback_id": "x" * 255, "close": plain("x" * 24)}
    assert view_errors(view(**limits)) == []


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        ("text", "must be an object [json-pointer:/view]"),
        ({"type": "modal", "title": plain()}, "missing required field: blocks"),
        (view(type="home"), "unsupported type: home"),
        (view(title=mrkdwn()), "unsupported type: mrkdwn [json-pointer:/view/title]"),
        (view(title=plain("x" * 25)), "less than 25 characters"),
        (view(submit=plain("x" * 25)), "[json-pointer:/view/submit/text]"),
        (view(close=plain("x" * 25)), "[json-pointer:/view/close/text]"),
        (view(private_metadata="x" * 3001), "less than 3001 characters"),
        (view(callback_id="x" * 256), "less than 256 characters"),
        (view(*[section()] * 101), "no more than 100 items allowed [json-pointer:/view/blocks]"),
        (view({"type": "shout"}), "unsupported type: shout [json-pointer:/view/blocks/0/type]"),
        (view(submit=None), "missing required field: submit"),
        (view(colour="red"), "additional property not allowed: colour"),
    ],
)
def test_bad_views_are_rejected(shown: Any, text: str) -> None:
    [fault] = view_errors(shown)
    assert text in fault


def test_all_errors_are_reported_at_once() -> None:
    assert len(block_errors([{"type": "section"}, {"type": "header"}])) == 2


def test_text_is_counted_at_any_depth() -> None:
    blocks = [section(text=mrkdwn("12345")), actions(button(text=plain("123")))]
    assert total_text_length(blocks) == 8
