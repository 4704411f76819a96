"""The steps of a deployment, a line each, as a thread shows them.

Units: lengths are in UTF-16 units, as in `messages_text`.
"""

from collections.abc import Sequence

from webhook.slack.blocks.labels import Sign, sign_of_step
from webhook.slack.blocks.mrkdwn import escape, link, link_only, units, when
from webhook.slack.blocks.notice import StepTold, Told

LONGEST_WORDS = 400
_MOST_STEPS = 20
_LONGEST_STEPS = 2800
# Of the page of all steps; without it the words stand alone.
_LONGEST_URL = 150


def lines(told: Told, steps: Sequence[StepTold], above: Sign | None = None) -> str:
    """The newest that fit, in their order. What stands `above` them is not said again."""
    shown: list[str] = []
    left = _LONGEST_STEPS
    for step in reversed(steps[-_MOST_STEPS:]):
        line = _line(told, step, None if shown else above)
        left -= units(line) + 1
        if left < 0:
            break
        shown.append(line)
    earlier = len(steps) - len(shown)
    if earlier:
        words = f"and {earlier} earlier {'step' if earlier == 1 else 'steps'}"
        shown.append(link(told.page_url, words, longest_url=_LONGEST_URL))
    return "\n".join(reversed(shown))


def sentence(told: Told, step: StepTold) -> str:
    """What it says, for a notification: how it stands, and its words."""
    sign, word = sign_of_step(told, step)
    names = f"{sign} {escape(told.repo, 140)} to {escape(told.environment, 140)}"
    words = escape(step.words, LONGEST_WORDS)
    return f"{names} {word}: {words}" if word and words else f"{names}: {word or words}"


def _line(told: Told, step: StepTold, above: Sign | None) -> str:
    standing = sign_of_step(told, step)
    words = escape(step.words, LONGEST_WORDS)
    said = f"{standing.sign} *{standing.word}*" if standing.word else standing.sign
    if standing == above and words:
        said = words
    elif words:
        said = f"{said}: {words}" if standing.word else f"{said} {words}"
    parts = [f"{when(step.at)}  {said}", _by(step), link_only(step.log_url, "Log")]
    return "  ·  ".join(part for part in parts if part)


def _by(step: StepTold) -> str:
    """Nobody where the relay itself or the words say who it was."""
    named = step.actor.lower() in ("", "relay") or step.actor.lower() in step.words.lower()
    return "" if named else f"by {escape(step.actor, 60)}"
