"""How a deployment reads in Slack. Plain data in, text and blocks out.

Source: docs.slack.dev/reference/block-kit (limits) and "Formatting message text" (escaping). All
text from outside is escaped; links are made of URLs that begin with http:// or https:// only.
"""

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote

from slack_sdk.models.blocks import ContextBlock, MarkdownTextObject, SectionBlock

from handlers import durations
from webhook.deployments.states import Phase, shorten
from webhook.outbound.slack import Message

# A sign and a word: colour alone tells some people nothing.
_SIGNS = {
    Phase.SEEN: ("⏳", "seen"),
    Phase.QUEUED: ("⏳", "queued"),
    Phase.IN_PROGRESS: ("🔄", "in progress"),
    Phase.SUCCESS: ("✅", "succeeded"),
    Phase.INACTIVE: ("✅", "succeeded"),
    Phase.FAILURE: ("❌", "failed"),
    Phase.ERROR: ("⛔", "could not run"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a message tells of a deployment. `seconds` is how long it took, None while it goes on;
    `since_sha` is the last success of that environment before it."""

    deployment_id: int
    repo: str
    repo_url: str
    environment: str
    production: bool
    ref: str
    sha: str
    task: str
    creator: str
    phase: Phase
    words: str
    seconds: float | None
    page_url: str
    run_url: str
    handler: str
    environment_url: str
    since_sha: str


def living(told: Told) -> Message:
    """The one message of a deployment in a channel, edited in place."""
    return Message(_line(told), [_headline(told), *_details(told)], f"{told.deployment_id}:message")


def failure(told: Told, purpose: str) -> Message:
    """A failure as a message of its own, because nobody is told of an edit."""
    words = f"{_line(told)}: {_escape(told.words, 300)}" if told.words else _line(told)
    return Message(words, [_headline(told), *_details(told)], f"{told.deployment_id}:{purpose}")


def digest(message: Message) -> str:
    """Equal for messages that read the same."""
    blocks = [block.to_dict() for block in message.blocks]
    return hashlib.sha256(json.dumps([message.text, blocks]).encode()).hexdigest()


def _line(told: Told) -> str:
    sign, word = _SIGNS[told.phase]
    names = f"{_escape(told.repo, 140)} to {_escape(told.environment, 255)}"
    return f"{sign} {names} {word}{_duration(told)}"


def _headline(told: Told) -> SectionBlock:
    sign, word = _SIGNS[told.phase]
    production = " (production)" if told.production and told.environment != "production" else ""
    text = (
        f"{sign} {_link(told.repo_url, told.repo)} to *{_escape(told.environment, 255)}*"
        f"{production} *{word}*{_duration(told)}"
    )
    if told.words:
        text += f"\n{_escape(told.words, 300)}"
    return SectionBlock(text=MarkdownTextObject(text=text))


def _details(told: Told) -> list[ContextBlock]:
    ref_url = f"{told.repo_url}/tree/{quote(told.ref)}"
    sha_url = f"{told.repo_url}/commit/{quote(told.sha)}"
    what = f"{_link(ref_url, told.ref)} @ {_link(sha_url, told.sha[:7])}"
    who = [what, f"by {_escape(told.creator or 'somebody', 60)}"]
    if told.task != "deploy":
        who.append(f"task {_escape(told.task, 100)}")
    links = [_link(told.page_url, "Logs")]
    if told.run_url:
        links.append(_link(told.run_url, f"Run ({told.handler})"))
    if told.environment_url:
        links.append(_link(told.environment_url, "Environment"))
    if told.since_sha and told.since_sha != told.sha:
        diff = f"{told.repo_url}/compare/{quote(told.since_sha)}...{quote(told.sha)}"
        links.append(_link(diff, f"Diff to {told.since_sha[:7]}"))
    return [_context(who), _context(links)]


def _context(parts: list[str]) -> ContextBlock:
    return ContextBlock(elements=[MarkdownTextObject(text="  ·  ".join(parts))])


def _duration(told: Told) -> str:
    words = ""
    if told.seconds is not None and told.phase is not Phase.ERROR:  # it did not run
        words = f" in {durations.write(told.seconds)}"
    return f"{words}, replaced since" if told.phase is Phase.INACTIVE else words


def _escape(text: str, limit: int) -> str:
    cut = shorten(text, limit)
    return cut.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _link(url: str, label: str) -> str:
    shown = _escape(label, 140)
    if not url.startswith(("https://", "http://")) or len(url) > 2000:
        return shown
    safe = url.replace("|", "%7C").replace(" ", "%20")
    return f"<{_escape(safe, 2100)}|{shown}>"


def seconds_between(start: datetime | None, end: datetime | None) -> float | None:
    return (end - start).total_seconds() if start and end else None
