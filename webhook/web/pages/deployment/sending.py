"""How far statuses have come on their way to GitHub, and messages to their notifiers.

Text from outside is one line without control characters; escaping is the templates'.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from webhook.notifiers import title_of
from webhook.store.outbox import Entry
from webhook.store.timeline import TimelineEntry
from webhook.web.pages.elements import line, moment

# Of a message that was sent, by its purpose.
_SENT = {
    "main": "sent to {place}",
    "reply": "sent to the thread in {place}",
    "alert": "failure reported in {place}",
}


@dataclass(frozen=True, slots=True)
class Sending:
    """How far something has come on its way to GitHub or a notifier. `kind` is that of a label:
    good, waiting, error or bad."""

    kind: str
    text: str


def unsent_status(entries: Iterable[TimelineEntry]) -> Sending | None:
    """GitHub shows an older state, because it rejects the newest ones, or cannot be reached."""
    failing: list[TimelineEntry] = []
    for entry in entries:
        if entry.outbox == "sent":
            failing.clear()
        elif entry.outbox not in (None, "skipped") and (entry.error or failing):
            failing.append(entry)
    if not failing:
        return None
    since = moment(failing[0].at).text
    error = next(entry.error for entry in reversed(failing) if entry.error)
    if all(entry.outbox == "rejected" for entry in failing):
        return Sending("bad", f"GitHub does not show this, since {since}: {line(error)}")
    return Sending("waiting", f"GitHub does not show this yet, since {since}: {line(error)}")


def sending_to_github(entry: TimelineEntry) -> Sending | None:
    """Whether GitHub has an entry of ours; None for one that somebody else reported."""
    error = line(entry.error)
    match entry.outbox:
        case "sent":
            return Sending("good", "Sent to GitHub")
        case "rejected":
            return Sending("bad", f"GitHub rejected it: {error}" if error else "GitHub rejected it")
        case "skipped":
            return Sending("good", "not sent: a newer status replaced it")
        case "waiting" | "claimed" if error:
            return Sending("waiting", f"Not sent to GitHub yet: {error}")
        case "waiting" | "claimed":
            return Sending("waiting", "on its way to GitHub")
    return None


def sent_messages(messages: Iterable[Entry]) -> tuple[Sending, ...]:
    """What reads the same is shown once, and what is in a thread only where it is not there."""
    found = list(messages)
    simplified = {one.destination for one in found if one.purpose == "main" and one.simplified}

    def worth_a_line(one: Entry) -> bool:
        known = one.simplified and one.destination in simplified
        return one.purpose != "reply" or (bool(one.error) and not known)

    return tuple(dict.fromkeys(_message(one) for one in found if worth_a_line(one)))


def _message(message: Entry) -> Sending:
    title, place = title_of(line(message.destination))
    # The name of a channel in Slack says enough.
    where = place if place.startswith("#") else f"{title} ({place})"
    error = line(message.error)
    if not error:
        if message.over:
            return Sending("good", _SENT[message.purpose].format(place=where))
        return Sending("waiting", f"on its way to {where}")
    if message.state in ("waiting", "claimed"):
        return Sending("waiting", f"on its way to {where}: {error}")
    if message.over and message.simplified:
        form = "another form or place" if message.purpose == "reply" else "a simpler form"
        return Sending("error", f"{title}: sent to {place} in {form}: {error}")
    if message.purpose == "reply":
        place = f"the thread in {place}"
    what = "latest change not sent" if message.over else "not sent"
    return Sending("bad", f"{title}: {what} to {place}: {error}")
