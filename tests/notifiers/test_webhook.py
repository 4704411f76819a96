"""The signed events that an endpoint gets, and what becomes of calls that go wrong."""

import base64
from collections.abc import AsyncIterator
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from sandbox.event_receiver import EventReceiver, make_secret
from sandbox.faults import Fault
from tests.notifiers.written import RELAY, TIMEOUT, destinations, message, rejection
from tests.slack.blocks.test_limits import tellings
from tests.slack.blocks.test_message import HELD_BACK
from tests.slack.notices import (
    APPROVALS,
    BEFORE,
    BEGIN,
    OVERRIDE,
    RUNNING,
    a_changelog,
    new_entry,
    offering,
)
from webhook.deployments.notice import DeploymentNotice
from webhook.deployments.phases import Phase
from webhook.errors import Gone, Rejected, RetryAt, UnknownOutcome
from webhook.notifiers import http
from webhook.notifiers.contract import NotifierContext
from webhook.notifiers.webhook import Webhook, WebhookDestination, signed

FAILED = replace(RUNNING, phase=Phase.FAILURE, seconds=192, description="exit code 1")
POST = "POST /events*"


@pytest.fixture
async def receiver() -> AsyncIterator[EventReceiver]:
    async with EventReceiver() as started:
        yield started


@pytest.fixture
def webhook(receiver: EventReceiver, context: NotifierContext) -> Webhook:
    return Webhook(WebhookDestination(url=receiver.address, secret=receiver.secret), context)


async def test_an_event_describes_the_whole_deployment_and_is_signed(
    receiver: EventReceiver, webhook: Webhook
) -> None:
    notice = replace(offering(FAILED, "retry"), changelog=a_changelog(1, "Fix a race"))
    entries = (new_entry("failure", "exit code 1", after=192),)
    ref = await webhook.send(message(notice, entries=entries), "7:main:3")
    event = receiver.events["7:main:3"]
    data = event.pop("data")
    assert event == {
        "specversion": "1.0",
        "id": "7:main:3",
        "source": RELAY,
        "type": "io.gitploy.relay.deployment.failure",
        "subject": "acme/site/deployments/7",
        "time": "2026-11-22T03:04:05Z",
        "datacontenttype": "application/json",
    }
    assert ref["id"] == event["id"]
    names = {field.name for field in fields(DeploymentNotice)}
    assert data.keys() == names | {"label", "entries"}
    assert (data["phase"], data["label"], data["seconds"]) == ("failure", "failed", 192)
    assert data["changelog"]["commits"][0]["title"] == "Fix a race"
    assert data["previous_sha"] == BEFORE
    assert data["actions"] == ["retry"]
    [entry] = data["entries"]
    assert (entry["at"], entry["label"]) == ("2026-11-22T03:07:17Z", "failed")


async def test_an_event_has_all_that_holds_a_deployment_back(
    receiver: EventReceiver, webhook: Webhook
) -> None:
    await webhook.send(message(HELD_BACK), "7:main:2")
    data = receiver.events["7:main:2"]["data"]
    assert (data["phase"], data["label"]) == ("queued", "on hold")
    assert [(one["gate"], one["until"], one["denies"]) for one in data["blockers"]] == [
        ("lock", "2026-11-23T05:00:00Z", False),
        ("serialization", None, False),
    ]


async def test_an_event_has_who_answered_when_and_why(
    receiver: EventReceiver, webhook: Webhook
) -> None:
    about = replace(HELD_BACK, approvals=APPROVALS, overrides=(OVERRIDE,))
    await webhook.send(message(about), "7:main:2")
    data = receiver.events["7:main:2"]["data"]
    assert data["overrides"] == [
        {
            "gates": ["lock", "approval"],
            "login": "ada_",
            "reason": "*Down* <!here>",
            "at": "2026-11-22T03:04:05Z",
            "expires_at": "2026-11-22T03:34:05Z",
        }
    ]
    assert data["approvals"][1] == {
        "login": "bob_",
        "approved": False,
        "at": "2026-11-22T03:06:05Z",
        "comment": "*No* <!here>",
    }


async def test_each_change_is_an_event_and_a_repeat_keeps_its_id(
    receiver: EventReceiver, webhook: Webhook
) -> None:
    await webhook.send(message(RUNNING), "7:main:2")
    for _ in range(2):
        await webhook.send(message(FAILED), "7:main:3")
    assert receiver.arrivals == {"7:main:2": 1, "7:main:3": 2}
    assert await webhook.find(message(FAILED), "7:main:3", BEGIN) is None


async def test_a_failure_goes_to_the_address_for_failures(
    receiver: EventReceiver, context: NotifierContext
) -> None:
    other = f"{receiver.address}/failures"
    kept = WebhookDestination(url="http://127.0.0.1:9/", failures=other, secret=receiver.secret)
    await Webhook(kept, context).send(message(FAILED, "alert"), "7:alert")
    [call] = receiver.calls
    assert call.path == "/events/failures"


async def test_while_a_secret_is_changed_both_sign(
    receiver: EventReceiver, context: NotifierContext
) -> None:
    both = f"{make_secret()},{receiver.secret}"
    webhook = Webhook(WebhookDestination(url=receiver.address, secret=both), context)
    await webhook.send(message(RUNNING), "7:main")
    assert "7:main" in receiver.events


def test_the_signature_is_that_of_the_specification() -> None:
    headers = signed(
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        b'{"test": 2432232314}',
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        datetime.fromtimestamp(1614265330, UTC),
    )
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


async def test_what_separates_the_signed_parts_is_not_in_an_id(
    receiver: EventReceiver, webhook: Webhook
) -> None:
    await webhook.send(message(RUNNING), "7.main")
    assert list(receiver.events) == ["7-main"]


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(notice=tellings)
async def test_whatever_a_deployment_is_called_it_is_an_event(
    webhook: Webhook, receiver: EventReceiver, notice: Any
) -> None:
    await webhook.send(message(notice), "7:main")
    assert receiver.arrivals["7:main"] > 0


@pytest.mark.parametrize("status", [200, 201, 202, 204])
async def test_any_2xx_is_a_success(receiver: EventReceiver, webhook: Webhook, status: int) -> None:
    receiver.faults.add(POST, Fault(status_code=status))
    assert await webhook.send(message(RUNNING), "7:main")


@pytest.mark.parametrize(
    ("fault", "seconds"),
    [
        (Fault(status_code=429, headers={"Retry-After": "7"}), 7),
        (Fault(status_code=429), http.USUAL_WAIT),
        (Fault(status_code=429, headers={"Retry-After": "Sun, 06 Nov 1994 08:49:37 GMT"}), 0.5),
        (Fault(status_code=429, headers={"Retry-After": "99999999"}), http.LONGEST_WAIT),
    ],
)
async def test_a_rate_limit_of_an_endpoint_is_respected(
    receiver: EventReceiver, webhook: Webhook, fault: Fault, seconds: float
) -> None:
    receiver.faults.add(POST, fault)
    with pytest.raises(RetryAt) as caught:
        await webhook.send(message(RUNNING), "7:main")
    late = datetime.now(UTC) + timedelta(seconds=seconds)
    assert late - timedelta(seconds=5) < caught.value.at <= late


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault",
    [
        Fault.status(500, acts=True),
        Fault.drop_after(),
        Fault.drop_before(),
        Fault.hang(TIMEOUT + 1),
    ],
)
async def test_without_a_clear_response_it_is_sent_again_under_the_same_id(
    receiver: EventReceiver, webhook: Webhook, fault: Fault
) -> None:
    receiver.faults.add(POST, fault)
    with pytest.raises(UnknownOutcome):
        await webhook.send(message(RUNNING), "7:main")
    assert await webhook.find(message(RUNNING), "7:main", BEGIN) is None
    await webhook.send(message(RUNNING), "7:main")
    assert list(receiver.events) == ["7:main"]


async def test_a_wrong_secret_is_rejected_with_the_remedy(
    receiver: EventReceiver, context: NotifierContext
) -> None:
    secret = make_secret()
    webhook = Webhook(WebhookDestination(url=receiver.address, secret=secret), context)
    with pytest.raises(Rejected, match=r"HTTP 401.*same secret") as caught:
        await webhook.send(message(RUNNING), "7:main")
    assert secret not in str(caught.value)
    assert receiver.events == {}


async def test_an_endpoint_that_wants_no_more_is_named(
    receiver: EventReceiver, webhook: Webhook
) -> None:
    receiver.gone = True
    with pytest.raises(Rejected, match="accepts no more events") as caught:
        await webhook.send(message(RUNNING), "7:main")
    assert caught.value.status == 410
    assert not isinstance(caught.value, Gone)  # or it would be sent again


@pytest.mark.parametrize(
    ("status", "reason"), [(302, "redirects"), (308, "redirects"), (404, "must respond with 2xx")]
)
async def test_other_responses_are_rejections_and_redirects_are_not_followed(
    receiver: EventReceiver, webhook: Webhook, status: int, reason: str
) -> None:
    receiver.faults.add(POST, Fault(status_code=status, headers={"Location": receiver.address}))
    with pytest.raises(Rejected, match=reason):
        await webhook.send(message(RUNNING), "7:main")
    assert len(receiver.calls) == 1


async def test_no_error_shows_address_or_secret(
    receiver: EventReceiver, context: NotifierContext, caplog: pytest.LogCaptureFixture
) -> None:
    address = f"{receiver.address}/hidden?key=hidden"
    kept = WebhookDestination(url=address, failures=address, secret=receiver.secret)
    webhook = Webhook(kept, context)
    for fault in (Fault.status(500), Fault.status(404), Fault.drop_before(), Fault.status(410)):
        receiver.faults.add(POST, fault)
        with pytest.raises((UnknownOutcome, Rejected)) as caught:
            await webhook.send(message(RUNNING), "7:main")
        assert "hidden" not in repr(caught.value)
        assert caught.value.__suppress_context__ or caught.value.__context__ is None
    assert "hidden" not in caplog.text + repr(kept) + kept.name(address)
    assert receiver.secret not in caplog.text + repr(kept)


def test_messages_that_read_the_same_have_the_same_digest(webhook: Webhook) -> None:
    assert webhook.digest(message(RUNNING)) == webhook.digest(message(replace(RUNNING)))
    assert webhook.digest(message(RUNNING)) != webhook.digest(message(FAILED))


# -- deploy.yml ----------------------------------------------------------------------------------

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()


def test_deploy_yml_names_address_and_secret() -> None:
    own = '{url: "https://acme.io/hooks", secret: "${SECRET}", states: [success, failure]}'
    [one] = destinations("webhook", own, SECRET=SECRET)
    assert (one.url, one.secret) == ("https://acme.io/hooks", SECRET)
    assert [one.accepts(phase) for phase in (Phase.SUCCESS, Phase.QUEUED)] == [True, False]


def test_the_secret_may_be_the_files() -> None:
    default = f'{{url: "https://acme.io/hooks", secret: "{SECRET}"}}'
    [one] = destinations("webhook", '{failures: "https://acme.io/failures"}', default)
    assert (one.url, one.failures, one.secret) == (
        "https://acme.io/hooks",
        "https://acme.io/failures",
        SECRET,
    )
    assert destinations("webhook", "{url: none}", default)[0].url is None


@pytest.mark.parametrize(
    ("own", "fault"),
    [
        ("{url: 'https://acme.io'}", "has no secret; add `secret`, with which events are signed"),
        ("{url: 'acme.io/hooks'}", "url: is not an address; write https://host/path"),
        ("{url: }", 'url: is empty; write "${NAME}" of a variable, or none'),
        ("x", 'must have keys with values, as in {url: "https://…", secret: "${WEBHOOK_SECRET}"}'),
    ],
)
def test_an_error_explains_what_to_write(own: str, fault: str) -> None:
    assert rejection("webhook", own).removeprefix("envs[0].webhook").lstrip(".: ") == fault


@pytest.mark.parametrize("secret", ["", "short", "whsec_" + "A" * 8, "whsec_ä", f"{SECRET},x"])
def test_an_unusable_secret_is_rejected_and_not_repeated(secret: str) -> None:
    fault = rejection("webhook", f"{{url: 'https://acme.io', secret: '{secret}'}}")
    assert "secret: is not a secret: whsec_ and 24 to 64 random bytes in base64; make" in fault
    assert not secret or secret not in fault
