"""What the page of a deployment says of its messages."""

from collections.abc import Iterable, Iterator

from webhook.notifiers import title_of
from webhook.store.outbox import Entry
from webhook.text import one_line

LONGEST_LINE = 1000
_SENT = {
    "main": "told in {place}",
    "reply": "told in the thread in {place}",
    "alert": "told of the failure in {place}",
}


def message_notes(messages: Iterable[Entry]) -> Iterator[tuple[str, str]]:
    """For each message, whether all is good, and in words."""
    for message in messages:
        # What is in a thread is only worth a line where it is not there.
        if message.purpose != "reply" or message.error:
            yield _note(message)


def _note(message: Entry) -> tuple[str, str]:
    title, place = title_of(one_line(message.destination, LONGEST_LINE))
    error = one_line(message.error, LONGEST_LINE)
    if not error:
        if message.over:
            return "good", _SENT[message.purpose].format(place=place)
        return "waiting", f"on its way to {place}"
    if message.state in ("waiting", "claimed"):
        return "waiting", f"on its way to {place}: {error}"
    latest = " of the latest" if message.over else ""
    return "bad", f"{title} was not told{latest} in {place}: {error}"
