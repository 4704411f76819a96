"""What an open page of a deployment gets: its parts, and its output.

An `output` event has text, for scripts; a `lines` event has lines as HTML, for the page: the first
of them takes the place of the page's last line where that is `continued`. The event's id is the
byte offset after it, so that a browser that reconnects continues exactly there.

Source: html.spec.whatwg.org, "Server-sent events".
"""

from collections.abc import Callable, Iterator
from time import monotonic
from typing import Any

from webhook.store import output
from webhook.store.database import Sync
from webhook.web.changes import Wake
from webhook.web.live import Parts, event, parts_event
from webhook.web.pages.deployment.data import PageData, read_page
from webhook.web.pages.deployment.log import Log
from webhook.web.pages.deployment.log_window import resumed
from webhook.web.pages.terminal_text import take
from webhook.web.services import PageServices

# Seconds: whoever sees output is asked for permission so often.
ASKS_EVERY = 5.0

# None: its viewer may not see it any more.
Render = Callable[[PageData], Parts | None]


def topics_of(data: PageData) -> set[str]:
    """What changes its page: others in its queue, too."""
    about = {f"deployment:{data.row.id}", f"output:{data.row.id}"}
    if data.row.ended_at is not None:
        return about
    return about | {f"repository:{data.row.repo_id}", "locks"}


class TextOutput:
    """Of which a page has the first `offset` bytes."""

    name = "output"

    def __init__(self, offset: int) -> None:
        self._offset = offset

    def read(self, connection: Sync, deployment_id: int, *, over: bool) -> list[str]:
        """What follows as an event, if anything does. `over`: nothing more is printed."""
        raw = output.read(connection, deployment_id, self._offset)
        if not raw:
            return []
        content, used = self._made(connection, deployment_id, raw, final=False)
        if over and not used:  # what is left unfinished at the end stays so
            content, used = self._made(connection, deployment_id, raw, final=True)
        self._offset += used
        return [event(self.name, content, self._offset)] if used else []

    def _made(
        self, _connection: Sync, _deployment_id: int, raw: bytes, *, final: bool
    ) -> tuple[Any, int]:
        return take(raw, final=final)


class LineOutput(TextOutput):
    name = "lines"
    _log: Log | None = None

    def _made(
        self, connection: Sync, deployment_id: int, raw: bytes, *, final: bool
    ) -> tuple[Any, int]:
        if self._log is None:
            self._log = resumed(connection, deployment_id, self._offset)
        continued = self._log.begun
        lines, used = self._log.add(raw, final=final)
        return {"lines": lines, "continued": continued}, used


class DeploymentFeed:
    """How far one page is. What all its viewers see is read once."""

    def __init__(
        self, services: PageServices, deployment_id: int, printed: TextOutput, render: Render
    ) -> None:
        self._pool = services.pool
        self._shared = services.live.shared
        self._clock = services.clock
        self._id = deployment_id
        self._printed = printed
        self._render = render
        self._data: PageData | None = None
        self._shown: dict[str, int] = {}
        self._rendered_at = 0.0
        self.behind = False
        self.done = False

    def poll(self, wake: Wake) -> list[str]:
        data = self._shared.get(("deployment", self._id), wake.since, self._read)
        if data is None:
            self.done = True
            return []
        with self._pool.connection() as connection:
            # After `data`, so that nothing is missed at the end.
            printed = self._printed.read(connection, self._id, over=data.over)
        self.behind = bool(printed)
        return [*printed, *self._changed(data, wake), *self._ended(data)]

    def _read(self) -> PageData | None:
        with self._pool.connection() as connection:
            return read_page(connection, self._id, self._clock(), self._data)

    def _changed(self, data: PageData, wake: Wake) -> Iterator[str]:
        """More output alone changes no part; but whether its viewer may see it is asked again."""
        only_output = self.behind or wake.topics == {f"output:{self._id}"}
        if only_output and data == self._data and monotonic() < self._rendered_at + ASKS_EVERY:
            return
        self._data = data
        self._rendered_at = monotonic()
        parts = self._render(data)
        if parts is None:
            self.done = True
            yield event("end", {"state": "hidden"})
        else:
            yield from parts_event(parts, self._shown)

    def _ended(self, data: PageData) -> Iterator[str]:
        if not self.done and not self.behind and data.settled(self._clock()):
            self.done = True
            yield event("end", {"state": data.row.phase})
