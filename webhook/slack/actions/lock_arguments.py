"""What a person types to lock: [for 2h] [lets owner] [lets rollbacks] reason…

Errors: `Mistyped`. A duration that cannot be read is one, rather than a part of the reason.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from webhook.config.environments import Config
from webhook.config.locks import lock_error
from webhook.deployments.locks import DEFAULT_DURATION, LETS, Lets, duration_of, reason_of
from webhook.slack.actions.typed import (
    LONGEST_ENVIRONMENT,
    ROOM,
    Mistyped,
    repo_error,
    require,
)
from webhook.text import and_more, one_line

OPTIONS = "[for 2h] [lets owner] [lets rollbacks] reason…"
# Phones make one long dash of two.
_DASHES = "-\N{EN DASH}\N{EM DASH}"
_DASHED = re.compile(rf"[{_DASHES}]+[a-z][a-z-]*(=.*)?")


@dataclass(frozen=True, slots=True)
class LockOptions:
    reason: str
    duration: timedelta = DEFAULT_DURATION
    lets: tuple[Lets, ...] = ()

    def to_inputs(self) -> tuple[tuple[str, str], ...]:
        """As an action's row keeps them."""
        seconds = str(int(self.duration.total_seconds()))
        return (("reason", self.reason), ("seconds", seconds), ("lets", " ".join(self.lets)))

    @classmethod
    def from_inputs(cls, inputs: Mapping[str, str]) -> "LockOptions":
        """Of an action's row; what a page's form has given is checked here. `for`: as it is typed,
        instead of `seconds`. Errors: `ValueError`, for that person."""
        given = inputs.get("lets", "").split()
        lets = tuple(one for one in LETS if one in given)
        reason = reason_of(inputs.get("reason", ""))
        if "seconds" in inputs:
            return cls(reason, timedelta(seconds=int(inputs["seconds"])), lets)
        typed = inputs.get("for", "").strip()
        return cls(reason, duration_of(typed) if typed else DEFAULT_DURATION, lets)


def scope_arguments(
    command: str, usage: str, arguments: Sequence[str]
) -> tuple[str, str, Sequence[str]]:
    """Repository, environment, and the rest."""
    if len(arguments) < 2:
        raise Mistyped(f"Name a repository and an environment: `{command} {usage}`")
    repo, environment, *rest = arguments
    require(repo_error(repo))
    if not environment or len(environment) > LONGEST_ENVIRONMENT:
        raise Mistyped(f"'{one_line(environment, 40)}' is not an environment")
    return repo, environment, rest


def require_lockable(config: Config, repo: str, environment: str) -> None:
    if error := lock_error(config, repo, environment):
        raise Mistyped(and_more([error], limit=ROOM))


def lock_options(arguments: Sequence[str]) -> LockOptions:
    """The options stand before the reason; a duration may follow it, too."""
    rest, lets = list(arguments), set[str]()
    duration: timedelta | None = None
    while rest:
        match [_option(one) for one in rest[:2]]:
            case ["for", *_]:
                duration = _duration(rest[1:3])
            case ["lets", whom] if whom in LETS:
                lets.add(whom)
            case ["lets", _]:
                shown = one_line(rest[1], 40)
                raise Mistyped(f"A lock lets owner or rollbacks through, not '{shown}'")
            case [option, *_] if _DASHED.fullmatch(option):
                shown = one_line(rest[0], 40)
                raise Mistyped(f"'{shown}' is no option; write {OPTIONS}, without dashes")
            case _:
                break
        del rest[:2]
    if duration is None and (begin := _duration_at_end(rest)):
        duration = _duration(rest[begin:])
        del rest[begin - 1 :]
    try:
        reason = reason_of(" ".join(rest))
    except ValueError as error:
        raise Mistyped(str(error)) from None
    own = tuple(one for one in LETS if one in lets)
    return LockOptions(reason, duration or DEFAULT_DURATION, own)


def _option(text: str) -> str:
    """As at the command line, too: there it is --for."""
    plain = text.lower().lstrip(_DASHES)
    return plain if plain in ("for", "lets") else text.lower()


def _duration_at_end(rest: Sequence[str]) -> int:
    """Where it begins behind "for"; 0 if there is none."""
    for count in (2, 3):
        if len(rest) > count and _option(rest[-count]) == "for":
            first = rest[1 - count].lower()
            if first[:1].isdigit() or (count == 2 and first == "never"):
                return len(rest) - count + 1
    return 0


def _duration(typed: Sequence[str]) -> timedelta:
    """Of the first, if that is one; the second may be its unit."""
    first = typed[0] if typed else ""
    if first.lower() in ("never", "ever"):
        raise Mistyped(
            "A lock without an end is for the command line of the relay (--for never); write"
            " for 3d, and renew it when you are reminded of it"
        )
    shown = " ".join(typed) if first.isdigit() else first
    try:
        return duration_of(shown)
    except ValueError as error:
        advice = 'a reason with "for" in it goes in quotation marks'
        raise Mistyped(f"{error}; {advice}") from None
