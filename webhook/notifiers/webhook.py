"""An endpoint of one's own: each change of a deployment, and each announcement, is a signed event.

Source: CloudEvents 1.0.2 (cloudevents.io: required attributes, JSON format, structured mode of the
HTTP binding) and Standard Webhooks 1.0 (standardwebhooks.com: headers, signature, secrets).

An event that got no clear response is sent again under the same id, so it arrives at least once. An
endpoint's address may be a secret: it is in no error, log or repr.
"""

import base64
import binascii
import hashlib
import hmac
import json
import re
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, WithJsonSchema

from webhook.config import destinations
from webhook.config.errors import invalid
from webhook.deployments.announcement import Announcement
from webhook.deployments.blockers import Blocker
from webhook.deployments.notice import DeploymentNotice, NoticeEntry
from webhook.deployments.overrides import Override
from webhook.notifiers.contract import Message, NotifierContext, Ref, Rejected
from webhook.notifiers.http import call, digest_of

TYPE = "io.gitploy.relay.deployment"
ANNOUNCEMENT_TYPE = "io.gitploy.relay.announcement"
CONTENT_TYPE = "application/cloudevents+json"
PREFIX = "whsec_"
# Bytes.
_LEAST, _MOST = 24, 64
_URL = re.compile(r"https?://[\w.:\[\]-]+(?:/[^\s#]*)?", re.ASCII)
_Url = Annotated[
    str | None,
    destinations.secret_address(_URL, "an address; write https://host/path"),
    WithJsonSchema({"type": "string"}),
]


def _key(secret: str) -> bytes:
    """Errors: ValueError."""
    key = base64.b64decode(secret.strip().removeprefix(PREFIX), validate=True)
    if not _LEAST <= len(key) <= _MOST:
        raise ValueError
    return key


def _secret(value: str) -> str:
    try:
        for one in value.split(","):
            _key(one)
    except (ValueError, binascii.Error):
        text = f"is not a secret: {PREFIX} and {_LEAST} to {_MOST} random bytes in base64; make"
        make = 'one with: echo "whsec_$(openssl rand -base64 32)"'
        raise invalid(f"{text} {make}", with_value=False) from None
    return value


class WebhookDestination(destinations.Destination):
    """An endpoint and the deployments that are sent to it."""

    EXAMPLE: ClassVar[str] = '{url: "https://…", secret: "${WEBHOOK_SECRET}"}'

    url: _Url = Field(default=None, repr=False)
    """Gets an event for each change; none for no events."""
    failures: _Url = Field(default=None, repr=False)
    """Another address, which gets an event for each failure; none for no events."""
    secret: Annotated[str, AfterValidator(_secret)] | None = Field(default=None, repr=False)
    """Signs the events: whsec_…; several, separated by commas, while it is changed."""

    def name(self, address: str) -> str:
        """The host alone would not be unique, and the path may be a secret."""
        digest = hashlib.sha256(address.encode()).hexdigest()[:8]
        return f"{urlsplit(address).hostname}#{digest}"

    def incomplete(self) -> str:
        if self.secret or not (self.url or self.failures):
            return ""
        return "has no secret; add `secret`, with which events are signed"


class Webhook:
    title: ClassVar[str] = "Webhook"
    edits: ClassVar[bool] = False
    threads: ClassVar[bool] = False
    Destination: ClassVar[type[destinations.Destination]] = WebhookDestination

    def __init__(self, destination: WebhookDestination, context: NotifierContext) -> None:
        self._destination = destination
        self._context = context

    async def prepare(self, message: Message, key: str, ref: Ref | None) -> None:
        """Nothing can be known beforehand."""

    def digest(self, message: Message) -> str:
        return digest_of(_data(message))

    async def find(self, message: Message, key: str, since: datetime) -> Ref | None:
        return None

    async def findable(self, message: Message) -> bool:
        return False

    async def send(self, message: Message, key: str) -> Ref:
        address = self._destination.address(main=message.purpose != "alert")
        if not address or not self._destination.secret:
            raise Rejected("deploy.yml has no address, or no secret, for it any more")
        event_id = key.replace(".", "-")  # which separates the parts that are signed
        body = json.dumps(_event(message, event_id, self._context.server_url)).encode()
        response = await call(
            self._context,
            f"the endpoint at {urlsplit(address).hostname}",
            "POST",
            address,
            body=body,
            headers={
                "Content-Type": f"{CONTENT_TYPE}; charset=utf-8",
                **signed(event_id, body, self._destination.secret, self._context.clock()),
            },
        )
        if not response.ok:
            raise Rejected(_reason(response.status, address), response.status)
        return Ref({"id": event_id})

    def shown(self, message: Message) -> str:
        event = _event(message, "ID", self._context.server_url)
        return json.dumps(event, indent=2, ensure_ascii=False)

    async def edit(self, ref: Ref, message: Message, key: str) -> None:
        raise NotImplementedError


def signed(event_id: str, body: bytes, secrets: str, now: datetime) -> dict[str, str]:
    """The headers that go with the body."""
    timestamp = str(int(now.timestamp()))
    content = f"{event_id}.{timestamp}.".encode() + body
    digests = [hmac.digest(_key(one), content, "sha256") for one in secrets.split(",")]
    return {
        "webhook-id": event_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(f"v1,{base64.b64encode(one).decode()}" for one in digests),
    }


def _reason(status: int, address: str) -> str:
    who = f"the endpoint at {urlsplit(address).hostname}"
    if status == 410:
        return f"{who} accepts no more events (HTTP 410); remove it from deploy.yml"
    if 300 <= status < 400:
        return f"{who} redirects, which is not followed; put the new address into deploy.yml"
    if status in (401, 403):
        return f"{who} rejects the event (HTTP {status}); does it have the same secret?"
    return f"{who} does not accept the event (HTTP {status}); it must respond with 2xx"


def _event(message: Message, event_id: str, server_url: str) -> dict[str, Any]:
    about = message.about
    if isinstance(about, Announcement):
        kind, subject, at = ANNOUNCEMENT_TYPE, about.key, about.at
    else:
        kind, at = f"{TYPE}.{about.phase}", about.changed_at
        subject = f"{about.repo}/deployments/{about.deployment_id}"
    return {
        "specversion": "1.0",
        "id": event_id,
        "source": server_url,
        "type": kind,
        "subject": subject,
        **({"time": _time(at)} if at else {}),
        "datacontenttype": "application/json",
        "data": _data(message),
    }


def _data(message: Message) -> dict[str, Any]:
    notice = message.about
    if isinstance(notice, Announcement):
        announced = asdict(notice)
        return {name: announced[name] for name in ("text", "mentions", "lock_id")}
    document = asdict(notice)
    document["changed_at"] = _time(notice.changed_at)
    document["approvals"] = [{**asdict(one), "at": _time(one.at)} for one in notice.approvals]
    document["overrides"] = [_override(one) for one in notice.overrides]
    document["label"] = notice.label.text
    document["blockers"] = [_blocker(one) for one in notice.blockers]
    document["actions"] = [button.action for button in notice.actions]
    document["entries"] = [_entry(notice, entry) for entry in message.entries]
    return document


def _entry(notice: DeploymentNotice, entry: NoticeEntry) -> dict[str, Any]:
    return {**asdict(entry), "at": _time(entry.at), "label": notice.entry_label(entry).text}


def _override(one: Override) -> dict[str, Any]:
    return {**asdict(one), "at": _time(one.at), "expires_at": _time(one.expires_at)}


def _blocker(one: Blocker) -> dict[str, Any]:
    return {**asdict(one), "until": one.until and _time(one.until)}


def _time(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")
