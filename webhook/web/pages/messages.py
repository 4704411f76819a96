"""What the page of a deployment says of its messages in Slack."""

from collections.abc import Iterable, Iterator

from webhook.deployments.phases import shorten
from webhook.store.slack_messages import SlackMessage

LONGEST_LINE = 1000
_TOLD = {
    "message": "told in {channel}",
    "step": "told in the thread in {channel}",
    "failures": "told of the failure in {channel}",
}


def slack_notes(messages: Iterable[SlackMessage]) -> Iterator[tuple[str, str]]:
    """For each message, whether all is good, and in words."""
    for message in messages:
        # What is in a thread is only worth a line where it is not there.
        if message.purpose != "step" or message.trouble:
            yield _note(message)


def _note(message: SlackMessage) -> tuple[str, str]:
    channel = shorten(message.channel, LONGEST_LINE)
    if message.trouble:
        latest = " of the latest" if message.ts else ""
        trouble = shorten(message.trouble, LONGEST_LINE)
        return "bad", f"Slack was not told{latest} in {channel}: {trouble}"
    if not message.ts:
        return "waiting", f"on its way to {channel}"
    return "good", _TOLD[message.purpose].format(channel=channel)
