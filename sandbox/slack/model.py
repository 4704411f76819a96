"""The data of the stand-in for Slack, and its errors."""

import time
from dataclasses import dataclass, field
from typing import Any, Literal

Json = dict[str, Any]
# What an admin forbids in a channel.
Restriction = Literal["", "read_only_channel", "thread_only_channel", "non_threadable_channel"]

# The organization of all workspaces that are in one.
ENTERPRISE = {"id": "E0SANDBOX", "name": "Sandbox Organization"}


class SlackError(Exception):
    """`{"ok": false, "error": ...}` and further fields of the response."""

    def __init__(self, error: str, status: int = 200, *, retry_after: int = 0, **more: Any) -> None:
        super().__init__(error)
        self.status = status
        self.retry_after = retry_after
        self.document: Json = {"ok": False, "error": error, **more}


@dataclass(frozen=True, slots=True)
class Bot:
    """The App's own identity in the workspace."""

    user: str = "U0RELAY"
    id: str = "B0RELAY"
    app_id: str = "A0RELAY"
    team_id: str = "T0SANDBOX"


@dataclass(slots=True)
class User:
    """A user of one workspace. `home`: their own one, where it is another of the same Enterprise
    Grid organization."""

    id: str
    team_id: str
    name: str
    email: str = ""
    confirmed: bool = True
    deleted: bool = False
    is_bot: bool = False
    home: str = ""


@dataclass(frozen=True, slots=True)
class Version:
    """A message before an edit."""

    text: str
    blocks: list[Json]


@dataclass(slots=True)
class Message:
    ts: str
    user: str
    text: str
    blocks: list[Json] = field(default_factory=list)
    thread_ts: str | None = None
    broadcast: bool = False
    metadata: Json | None = None
    versions: list[Version] = field(default_factory=list)
    edited_ts: str = ""
    thread: Literal["open", "locked", "impossible"] = "open"

    @property
    def edits(self) -> int:
        return len(self.versions)

    @property
    def is_reply(self) -> bool:
        return self.thread_ts not in (None, self.ts)


@dataclass(slots=True)
class EphemeralMessage:
    """A message that only one user sees; `user` and `channel` are ids."""

    user: str
    channel: str
    text: str
    blocks: list[Json] = field(default_factory=list)
    ts: str = ""
    thread_ts: str | None = None


@dataclass(slots=True)
class Channel:
    id: str
    name: str
    member: bool = True
    archived: bool = False
    private: bool = False
    restriction: Restriction = ""
    messages: dict[str, Message] = field(default_factory=dict)
    ephemeral_messages: list[EphemeralMessage] = field(default_factory=list)

    def parent(self, thread_ts: str) -> Message:
        """The parent message of a thread, which cannot be a reply."""
        found = self.messages.get(thread_ts)
        if found is None or found.is_reply:
            raise SlackError("thread_not_found")
        return found

    def replies(self, thread_ts: str) -> list[Message]:
        return [m for m in self.messages.values() if m.is_reply and m.thread_ts == thread_ts]


class Clock:
    """Slack's timestamps: unique, increasing, with microseconds after the dot."""

    def __init__(self) -> None:
        self._last = 0

    def ts(self) -> str:
        self._last = max(self._last + 1, time.time_ns() // 1000)
        return f"{self._last // 10**6}.{self._last % 10**6:06d}"
