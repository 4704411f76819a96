"""Discord, through a channel's webhook: one message of a deployment, edited in place.

Source: docs.discord.com, "Webhook Resource" (execute, edit), "Message Resource" (limits of embeds,
allowed mentions), "Message Formatting" (timestamps), "Rate Limits", "Opcodes and Status Codes"
(JSON error codes).

A webhook cannot read its channel, and Discord heeds a `nonce` of bots only: a message whose
response got lost cannot be found. Whoever has the URL can post: it is in no error, log or repr.
"""

import json
import re
from collections.abc import Iterable
from datetime import datetime
from typing import Annotated, Any, ClassVar
from urllib.parse import quote

from pydantic import AfterValidator, Field, WithJsonSchema

from webhook.config import destinations
from webhook.config.errors import invalid
from webhook.deployments.announcement import Announcement
from webhook.deployments.automatic import heading_of, requested
from webhook.deployments.blockers import Blocker
from webhook.deployments.notice import DeploymentNotice, NoticeApproval
from webhook.deployments.overrides import Override
from webhook.notifiers.contract import (
    INVALID,
    Gone,
    Message,
    NotifierContext,
    Ref,
    Rejected,
    UnknownOutcome,
)
from webhook.notifiers.http import Response, call, digest_of
from webhook.text import link_url, one_line

_URL = re.compile(r"https?://[\w.:\[\]-]+/api(?:/v\d+)?/webhooks/(\d{1,20})/[\w-]{1,200}", re.ASCII)
_Url = Annotated[
    str | None,
    destinations.secret_address(_URL, "the URL of a Discord webhook; copy it in Discord"),
    WithJsonSchema({"type": "string"}),
]
# Discord rejects these as names.
_RESERVED = re.compile(r"discord|clyde|```|[@#:]|^(?:everyone|here)$", re.IGNORECASE)
_COLOURS = {
    "good": 0x2DA44E,
    "past": 0x6E7781,
    "running": 0x0969DA,
    "waiting": 0xBF8700,
    "hold": 0xBF8700,
    "bad": 0xCF222E,
    "error": 0xA40E26,
}
# Characters, by the strictest way to count; Discord takes 256, 4096 and 1024, 6000 in all;
# 2000 in a message without an embed.
_TITLE, _DESCRIPTION, _FIELD, _SHORT, _CONTENT = 256, 1500, 1024, 100, 2000
# Of what keeps a deployment from starting: a reason, and an end with what separates the parts.
_REASON, _END = 400, 50
# Two links fit into a field.
_LONGEST_URL = 400
_COMMENT = 300
_MARKDOWN = re.compile(r"[\\*_~`|\[\]<:@]|^[->#+]")
_UNKNOWN_MESSAGE = 10008
# An invalid body, an empty message.
_FORM_CODES = {50035, 50006}
_REMEDIES = {
    10003: "`thread_id` is no thread of the webhook's channel; correct it in deploy.yml",
    10015: "the webhook was deleted; copy the URL of another one into deploy.yml's variable",
    50027: "the webhook's URL is not right; copy it in Discord (channel settings, Integrations)",
    50083: "the thread is archived; open it again, or correct `thread_id` in deploy.yml",
    220001: "the channel is a forum; put the ID of a post into deploy.yml as `thread_id`",
}

_FORM = "the message's form is a fault of the relay; please report it"


def _thread(value: str) -> str:
    if not re.fullmatch(r"\d{1,20}", value, re.ASCII):
        raise invalid('is not an ID; copy it in Discord, as in "1100000000000000001"')
    return value


def _username(value: str) -> str:
    if not 1 <= len(value) <= 80 or _RESERVED.search(value):
        raise invalid("is not a name that Discord takes; it has 1 to 80 characters, no @ # :")
    return value


class DiscordDestination(destinations.Destination):
    """A Discord webhook and the deployments that are posted to it."""

    EXAMPLE: ClassVar[str] = '{url: "${DISCORD_WEBHOOK}"}'

    url: _Url = Field(default=None, repr=False)
    """The webhook's URL; its channel hears of them. none for no channel."""
    failures: _Url = Field(default=None, repr=False)
    """Another webhook's URL; its channel hears of what failed. none for no channel."""
    thread_id: Annotated[str, AfterValidator(_thread)] | None = None
    """A thread in the channel of `url`, or a post of a forum."""
    username: Annotated[str, AfterValidator(_username)] | None = None
    """Who the messages are from; by default the webhook's name."""

    def name(self, address: str) -> str:
        """The webhook's ID is no secret, unlike the rest of its URL."""
        match = _URL.fullmatch(address)
        thread = f"/{self.thread_id}" if self.thread_id and address == self.url else ""
        return f"{match[1] if match else ''}{thread}"


class Discord:
    title: ClassVar[str] = "Discord"
    edits: ClassVar[bool] = True
    threads: ClassVar[bool] = False
    Destination: ClassVar[type[destinations.Destination]] = DiscordDestination

    def __init__(self, destination: DiscordDestination, context: NotifierContext) -> None:
        self._destination = destination
        self._context = context

    async def prepare(self, message: Message, key: str, ref: Ref | None) -> None:
        """Nothing can be known beforehand."""

    def digest(self, message: Message) -> str:
        return digest_of(_document(message))

    async def find(self, message: Message, key: str, since: datetime) -> Ref | None:
        return None

    async def findable(self, message: Message) -> bool:
        return False

    async def send(self, message: Message, key: str) -> Ref:
        thread = self._destination.thread_id if message.purpose != "alert" else None
        document = _document(message)
        if self._destination.username:
            document["username"] = self._destination.username
        response = await self._call("POST", message, "", thread, document)
        message_id = response.document().get("id")
        if not isinstance(message_id, str):
            raise UnknownOutcome("Discord's response has no message in it")
        return Ref({"message_id": message_id, **({"thread_id": thread} if thread else {})})

    async def edit(self, ref: Ref, message: Message, key: str) -> None:
        path = f"/messages/{quote(ref['message_id'], safe='')}"
        thread = ref.fields.get("thread_id")
        await self._call("PATCH", message, path, thread, _document(message))

    def shown(self, message: Message) -> str:
        return self.text_of(message)

    @staticmethod
    def text_of(message: Message) -> str:
        document = _document(message)
        parts = [document["content"]]
        for embed in document["embeds"]:
            fields = (f"{one['name']}: {one['value']}" for one in embed["fields"])
            parts += [embed["title"], embed.get("description", ""), *fields]
        return "\n".join(part for part in parts if part)

    async def _call(
        self, method: str, message: Message, path: str, thread: str | None, document: Any
    ) -> Response:
        address = self._destination.address(main=message.purpose != "alert")
        if not address:
            raise Rejected("deploy.yml has no webhook of Discord for it any more")
        query = {"wait": "true"} if method == "POST" else {}
        query |= {"thread_id": thread} if thread else {}
        response = await call(
            self._context,
            "Discord",
            method,
            f"{address}{path}?" + "&".join(f"{name}={value}" for name, value in query.items()),
            body=json.dumps(document).encode(),
            headers={"Content-Type": "application/json"},
        )
        if not response.ok:
            raise _rejected(response)
        return response


def _rejected(response: Response) -> Rejected:
    document = response.document()
    code = document.get("code")
    if code == _UNKNOWN_MESSAGE:
        return Gone("the message was deleted in Discord", response.status)
    text = one_line(str(document.get("message") or f"HTTP {response.status}"), 200)
    if code in _FORM_CODES:
        detail = one_line(json.dumps(document.get("errors", {})), 300)
        return Rejected(f"Discord returned {text} {detail}: {_FORM}", response.status, code=INVALID)
    remedy = _REMEDIES.get(code) if isinstance(code, int) else None
    if remedy is None and response.status in (401, 403, 404):
        remedy = _REMEDIES[50027]
    return Rejected(f"Discord returned {text}" + (f": {remedy}" if remedy else ""), response.status)


def _document(message: Message) -> dict[str, Any]:
    """An edit replaces both, content and embeds."""
    shown: dict[str, Any]
    if isinstance(message.about, Announcement):
        shown = {"content": _announcement(message.about)}
    elif message.plain:
        shown = {"content": _plain(message.about)}
    else:
        shown = {"embeds": [_embed(message.about)]}
    # So that no text from outside can ping anybody.
    return {"content": "", "embeds": [], **shown, "allowed_mentions": {"parse": []}}


def _announcement(announcement: Announcement) -> str:
    lines = announcement.text.splitlines()
    return _fit("\n".join(_escape(line) for line in lines), _CONTENT)


def _plain(notice: DeploymentNotice) -> str:
    lines = [_headline(notice), _description(notice)]
    text = _fit("\n".join(line for line in lines if line), _CONTENT - _LONGEST_URL - 1)
    return f"{text}\n{_short_url(notice.page_url)}".rstrip()


def _embed(notice: DeploymentNotice) -> dict[str, Any]:
    embed = {
        "title": _fit(_headline(notice), _TITLE),
        "description": _description(notice),
        "url": _short_url(notice.page_url),
        "color": _COLOURS.get(notice.label.kind, _COLOURS["waiting"]),
        "fields": [
            {"name": name, "value": value, "inline": inline}
            for name, value, inline in _fields(notice)
            if value
        ],
        "timestamp": notice.changed_at.isoformat(),
    }
    return {name: value for name, value in embed.items() if value}


def _description(notice: DeploymentNotice) -> str:
    """What happened; of one that waits for its gates, what each of them says."""
    if not notice.blockers:
        return _fit(_escape(notice.description), _DESCRIPTION)
    room = max(30, _DESCRIPTION // len(notice.blockers) - _END)
    lines = [_blocker(one, min(_REASON, room * 2 // 3), room // 3) for one in notice.blockers]
    return _fit("\n".join(lines), _DESCRIPTION)


def _blocker(one: Blocker, longest_reason: int, longest_way_out: int) -> str:
    end = "" if one.denies else "no known end"
    if one.until:  # everybody sees it in their own time zone
        end = f"until <t:{int(one.until.timestamp())}:f>"
    reason, way_out = _escape(one.reason), _escape(one.way_out)
    parts = (_fit(reason, longest_reason), end, _fit(way_out, longest_way_out))
    return "• " + " · ".join(part for part in parts if part)


def _headline(notice: DeploymentNotice) -> str:
    environment = _short(notice.environment)
    if notice.production and notice.environment != "production":
        environment += " (production)"
    label = notice.label
    return f"{label.sign} {_short(notice.repo)} to {environment} {label.text}{notice.detail}"


def _fields(notice: DeploymentNotice) -> list[tuple[str, str, bool]]:
    commit = _link(_short(notice.sha[:7]), notice.on_github("commit", notice.sha))
    tree = _link(_short(notice.ref), notice.on_github("tree", notice.ref))
    return [
        ("Version", commit if notice.ref == notice.sha else f"{tree} @ {commit}", True),
        (heading_of(notice.cause), _requested_by(notice), True),
        ("Tool", _link(_short(notice.tool), notice.run_url), True),
        ("Task", "" if notice.task == "deploy" else _short(notice.task), True),
        ("Late", _short(notice.late), True),
        ("Environment", _link("Open", notice.environment_url, only=True), True),
        ("Changes", _changes(notice), False),
        ("Approvals", _newest(map(_answer, notice.approvals)), False),
        ("Overrides", _newest(map(_override, notice.overrides)), False),
    ]


def _requested_by(notice: DeploymentNotice) -> str:
    who = _short(notice.requested_by)
    return requested(notice.cause, who) if notice.cause else who


def _changes(notice: DeploymentNotice) -> str:
    """As many commits as there is room for."""
    lines = [_link(notice.changes, notice.compare_url)] if notice.changes else []
    for commit in notice.new_commits:
        line = f"• {_link(_short(commit.sha[:7]), commit.url)} {_short(commit.title)}"
        if sum(map(_units, lines)) + len(lines) + _units(line) > _FIELD:
            break
        lines.append(line)
    return "\n".join(lines)


def _newest(lines: Iterable[str]) -> str:
    """As many as there is room for."""
    shown: list[str] = []
    for line in reversed(list(lines)):
        if sum(map(_units, shown)) + len(shown) + _units(line) > _FIELD:
            break
        shown.append(line)
    return "\n".join(reversed(shown))


def _answer(one: NoticeApproval) -> str:
    answer = "👍" if one.approved else "👎"
    comment = f": {_fit(_escape(one.comment), _COMMENT)}" if one.comment else ""
    return f"{answer} {_short(one.login)}, <t:{int(one.at.timestamp())}:f>{comment}"


def _override(one: Override) -> str:
    gates, reason = _short(", ".join(one.gates)), _fit(_escape(one.reason), _COMMENT)
    return f"🚨 {_short(one.login)} overrode {gates}, <t:{int(one.at.timestamp())}:f>: {reason}"


def _short(text: str) -> str:
    return _fit(_escape(text), _SHORT)


def _escape(text: str) -> str:
    """Text from outside: one line that formats nothing, links nowhere and mentions nobody."""
    return _MARKDOWN.sub(r"\\\g<0>", one_line(text, _DESCRIPTION))


def _fit(text: str, limit: int) -> str:
    if _units(text) <= limit:
        return text
    cut = text.encode("utf-16-le")[: 2 * (limit - 1)].decode("utf-16-le", errors="ignore")
    return cut.rstrip("\\ ") + "…"


def _units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def _link(label: str, url: str, *, only: bool = False) -> str:
    """`label` is escaped already. `only`: nothing where the address cannot be used."""
    safe = _short_url(url)
    return f"[{label}]({safe})" if safe and label else ("" if only else label)


def _short_url(url: str) -> str:
    """A parenthesis would end the link."""
    safe = link_url(url, quoted="()")
    return safe if len(safe) <= _LONGEST_URL else ""
