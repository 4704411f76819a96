"""Views in the stand-in for Slack: opened with a trigger, filled in, submitted."""

from collections.abc import AsyncIterator, Awaitable
from typing import Any

import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.models.blocks import InputBlock, Option, PlainTextInputElement, StaticSelectElement
from slack_sdk.models.views import View as SdkView
from slack_sdk.web.async_client import AsyncWebClient

from sandbox.slack.model import User
from sandbox.slack.screen import render_view
from sandbox.slack.server import Slack
from tests.sandbox.slack_receiver import Receiver

ENVIRONMENTS = [Option(value=name, text=name) for name in ("staging", "production")]
FORM = SdkView(
    type="modal",
    title="Deploy",
    submit="Go",
    close="No",
    callback_id="deploy",
    private_metadata="acme/site",
    blocks=[
        InputBlock(
            block_id="env",
            label="Environment",
            element=StaticSelectElement(
                action_id="name", placeholder="Choose", options=ENVIRONMENTS
            ),
        ),
        InputBlock(
            block_id="ref",
            label="Ref",
            hint="a branch",
            element=PlainTextInputElement(action_id="text", max_length=20),
            optional=True,
        ),
    ],
).to_dict()


@pytest.fixture
async def app(slack: Slack) -> AsyncIterator[Receiver]:
    async with Receiver(slack) as receiver:
        yield receiver


@pytest.fixture
def ada(slack: Slack) -> User:
    return slack.add_user("ada")


@pytest.fixture
async def trigger(slack: Slack, app: Receiver, ada: User) -> str:
    await slack.command("/deploy", "", ada)
    return str(app.received[0]["trigger_id"])


async def rejected(call: Awaitable[Any]) -> dict[str, Any]:
    with pytest.raises(SlackApiError) as caught:
        await call
    return dict(caught.value.response.data)


async def test_a_view_is_filled_in_and_submitted(
    slack: Slack, app: Receiver, bot: AsyncWebClient, ada: User, trigger: str
) -> None:
    opened = (await bot.views_open(trigger_id=trigger, view=FORM))["view"]
    view = slack.views.newest(ada.id)
    assert opened["id"] == view.id
    shown = ["Deploy", "Environment: [Choose]", "Ref: [plain_text_input]", "a branch", "[No] [Go]"]
    assert render_view(view.document).splitlines() == shown
    response = await slack.submit(view, {"env": "production"}, ada)
    assert (response.status, view.open) == (200, False)
    payload = app.received[1]
    assert (payload["type"], payload["user"]["id"]) == ("view_submission", ada.id)
    assert (payload["view"]["id"], payload["view"]["callback_id"]) == (view.id, "deploy")
    assert payload["view"]["private_metadata"] == "acme/site"
    option = {"text": {"type": "plain_text", "text": "production", "emoji": True}}
    assert payload["view"]["state"]["values"] == {
        "env": {
            "name": {"type": "static_select", "selected_option": option | {"value": "production"}}
        },
        "ref": {"text": {"type": "plain_text_input", "value": None}},
    }


async def test_a_user_cannot_submit_what_the_view_does_not_allow(
    slack: Slack, app: Receiver, bot: AsyncWebClient, ada: User, trigger: str
) -> None:
    await bot.views_open(trigger_id=trigger, view=FORM)
    view = slack.views.newest(ada.id)
    for values, text in (
        ({}, "env must be filled in"),
        ({"env": "moon"}, "moon is not among"),
        ({"env": "staging", "ref": "x" * 21}, "0 to 20 characters"),
        ({"env": "staging", "colour": "red"}, "no colour"),
    ):
        with pytest.raises(ValueError, match=text):
            await slack.submit(view, values, ada)
    with pytest.raises(ValueError, match="somebody else"):
        await slack.submit(view, {"env": "staging"}, slack.add_user("bob"))
    assert len(app.received) == 1


async def test_the_response_shows_errors_or_another_view(
    slack: Slack, app: Receiver, bot: AsyncWebClient, ada: User, trigger: str
) -> None:
    await bot.views_open(trigger_id=trigger, view=FORM)
    view = slack.views.newest(ada.id)
    app.response = {"response_action": "errors", "errors": {"ref": "no such branch"}}
    response = await slack.submit(view, {"env": "staging", "ref": "nope"}, ada)
    assert response.document["errors"] == view.errors == {"ref": "no such branch"}
    assert view.open
    app.response = {"response_action": "errors", "errors": {"elsewhere": "a"}}
    assert (await slack.submit(view, {"env": "staging"}, ada)).error == "invalid_response_errors"
    app.response = {"response_action": "update", "view": FORM | {"title": "wrong"}}
    assert (await slack.submit(view, {"env": "staging"}, ada)).error == "invalid_arguments"
    sure = {"type": "plain_text", "text": "Sure?"}
    app.response = {"response_action": "update", "view": FORM | {"title": sure}}
    await slack.submit(view, {"env": "staging"}, ada)
    assert render_view(view.document).startswith("Sure?")
    app.response = {"response_action": "clear"}
    await slack.submit(view, {"env": "staging"}, ada)
    with pytest.raises(ValueError, match="no view is open"):
        slack.views.newest(ada.id)


async def test_a_trigger_is_valid_once_and_expires(
    slack: Slack, app: Receiver, bot: AsyncWebClient, ada: User, trigger: str
) -> None:
    async def error(trigger_id: str) -> str:
        call = bot.views_open(trigger_id=trigger_id, view=FORM)
        return str((await rejected(call))["error"])

    await bot.views_open(trigger_id=trigger, view=FORM)
    assert await error(trigger) == "exchanged_trigger_id"
    assert await error("1.2.abc") == "invalid_trigger_id"
    foreign = slack.add_workspace("Beta")
    foreign.add_channel("deploys")
    await slack.command("/deploy", "", foreign.add_user("zoe"))
    assert await error(app.received[-1]["trigger_id"]) == "invalid_trigger_id"
    await slack.command("/deploy", "", ada)
    slack.trigger_lifetime = 0
    assert await error(app.received[-1]["trigger_id"]) == "expired_trigger_id"


async def test_a_view_can_be_updated_while_it_is_open(
    slack: Slack, bot: AsyncWebClient, ada: User, trigger: str
) -> None:
    opened = (await bot.views_open(trigger_id=trigger, view=FORM))["view"]
    later = FORM | {"title": {"type": "plain_text", "text": "Later"}}
    await bot.views_update(view_id=opened["id"], hash=opened["hash"], view=later)
    assert render_view(slack.views.newest(ada.id).document).startswith("Later")
    conflict = bot.views_update(view_id=opened["id"], hash=opened["hash"], view=FORM)
    assert (await rejected(conflict))["error"] == "hash_conflict"
    assert (await rejected(bot.views_update(view_id="V404", view=FORM)))["error"] == "not_found"


async def test_a_wrong_view_is_rejected_with_a_json_pointer(
    slack: Slack, bot: AsyncWebClient, trigger: str
) -> None:
    wrong = FORM | {"title": {"type": "plain_text", "text": "x" * 25}}
    response = await rejected(bot.views_open(trigger_id=trigger, view=wrong))
    assert response["error"] == "invalid_arguments"
    [text] = response["response_metadata"]["messages"]
    assert text == "[ERROR] must be less than 25 characters [json-pointer:/view/title/text]"
    large = FORM | {"private_metadata": "x" * 250_000}
    call = bot.views_open(trigger_id=trigger, view=large)
    assert (await rejected(call))["error"] == "view_too_large"
    # A rejected form has not used the trigger up.
    await bot.views_open(trigger_id=trigger, view=FORM)
