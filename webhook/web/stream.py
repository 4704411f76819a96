"""What an open page of a deployment gets: its parts, and its output.

An `output` event's id is the byte offset after it, so that a browser that reconnects continues
exactly there.

Source: html.spec.whatwg.org, "Server-sent events".
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from time import monotonic

from webhook.store import actions, deployments, outbox, timeline, waits
from webhook.store import output as store_output
from webhook.store.database import Sync
from webhook.store.lineage import lineage_of
from webhook.web.changes import Wake
from webhook.web.live import Parts, event, parts_event
from webhook.web.pages.deployment import PageData
from webhook.web.pages.terminal_text import take
from webhook.web.services import PageServices

# Characters of output that a page begins with at most: the last ones.
PAGE_OUTPUT = 1024 * 1024
# Seconds: whoever sees output is asked for permission so often.
ASKS_EVERY = 5.0

# None: its viewer may not see it any more.
Render = Callable[[PageData], Parts | None]


@dataclass(frozen=True, slots=True)
class Output:
    """`offset`: the bytes that `text` and what is left out before it (`cut`) were made of."""

    text: str
    offset: int
    cut: bool


def topics_of(data: PageData) -> set[str]:
    """What changes its page: others in its queue, too."""
    about = {f"deployment:{data.row.id}", f"output:{data.row.id}"}
    if data.row.ended_at is not None:
        return about
    return about | {f"repository:{data.row.repo_id}", "locks"}


class DeploymentFeed:
    """How far one page is. What all its viewers see is read once."""

    def __init__(
        self, services: PageServices, deployment_id: int, offset: int, render: Render
    ) -> None:
        self._pool = services.pool
        self._shared = services.live.shared
        self._clock = services.clock
        self._id = deployment_id
        self._offset = offset
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
            text, used = _piece(connection, data, self._offset)
        self._offset += used
        self.behind = used > 0
        return [*self._output(text), *self._changed(data, wake), *self._ended(data)]

    def _read(self) -> PageData | None:
        with self._pool.connection() as connection:
            return read(connection, self._id, self._clock(), self._data)

    def _output(self, text: str) -> Iterator[str]:
        if self.behind:
            yield event("output", text, self._offset)

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


def read(
    connection: Sync, deployment_id: int, now: datetime, known: PageData | None = None
) -> PageData | None:
    """`known`: what was read before."""
    row = deployments.read_sync(connection, deployment_id)
    if row is None:
        return None
    if known is not None and known.row.version == row.version:
        lineage = known.lineage
    else:
        lineage = lineage_of(connection, deployment_id)
    return PageData(
        row,
        lineage,
        timeline.of_deployment(connection, deployment_id),
        outbox.messages_of(connection, deployment_id),
        waits.of_deployment(connection, row, now),
        actions.under_way(connection, deployment_id),
    )


def output_so_far(connection: Sync, data: PageData) -> Output:
    """All output until now, as far as a page can begin with it."""
    text, offset, total = "", 0, 0
    while True:
        piece, used = _piece(connection, data, offset)
        if not used:
            return Output(text, offset, total > len(text))
        offset += used
        total += len(piece)
        text = (text + piece)[-PAGE_OUTPUT:]


def _piece(connection: Sync, data: PageData, offset: int) -> tuple[str, int]:
    """`data` is read before the output, so that nothing is missed at the end."""
    raw = store_output.read(connection, data.row.id, offset)
    text, used = take(raw)
    # What is left unfinished at the end stays so.
    return take(raw, final=True) if data.over and not used else (text, used)
