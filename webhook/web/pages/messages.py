"""What the page of a deployment says of its messages."""

from collections.abc import Iterable, Iterator

from webhook.deployments.phases import shorten
from webhook.notifiers import title_of
from webhook.store.outbox import Entry

LONGEST_LINE = 1000
_SENT = {
    "main": "told in {place}",
    "reply": "told in the thread in {place}",
    "alert": "told of the failure in {place}",
}


def message_notes(messages: Iterable[Entry]) -> Iterator[tuple[str, str]]:
    """For each message, whether all is good, and in words; what is the same is said once."""
    # What is in a thread is only worth a line where it is not there.
    shown = [one for one in messages if one.purpose != "reply" or one.error]
    yield from dict.fromkeys(_note(message) for message in shown)


def _note(message: Entry) -> tuple[str, str]:
    title, place = title_of(shorten(message.destination, LONGEST_LINE))
    error = shorten(message.error, LONGEST_LINE)
    # The name of a channel in Slack says enough.
    where = place if place.startswith("#") else f"{title} ({place})"
    if not error:
        if message.over:
            return "good", _SENT[message.purpose].format(place=where)
        return "waiting", f"on its way to {where}"
    if message.state in ("waiting", "claimed"):
        return "waiting", f"on its way to {where}: {error}"
    latest = " of the latest" if message.over else ""
    return "bad", f"{title} was not told{latest} in {place}: {error}"
