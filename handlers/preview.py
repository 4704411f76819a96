"""What a handler's `start` would send, for people who ask before, or why nothing happened.

It is made from what `start` sends, by the same functions, so that both cannot differ. Values of
headers are shown where they are known to be none of the operator's; whoever shows the rest hides
secrets in it.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Self

from handlers.http import Request

# By the names of headers that the relay writes itself.
SHOWN_HEADERS = frozenset({"accept", "content-type", "user-agent"})


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpPreview:
    """A request. `url` is a path where GitHub's API is called. `hidden`: names of the headers whose
    values are not shown."""

    method: str
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)
    hidden: tuple[str, ...] = ()
    body: bytes | None = field(default=None, repr=False)

    @classmethod
    def of(cls, request: Request, shown: Collection[str] = ()) -> Self:
        """`shown`: names of further headers whose values may be shown."""
        names = SHOWN_HEADERS | {name.lower() for name in shown}
        return cls(
            method=request.method,
            url=str(request.url),
            headers={name: one for name, one in request.headers.items() if name.lower() in names},
            hidden=tuple(name for name in request.headers if name.lower() not in names),
            body=request.body,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandPreview:
    """A command on the relay's machine. `variables`: the names of those that it gets."""

    argv: tuple[str, ...] = field(repr=False)
    cwd: str
    variables: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """`calls`: those that start something, in their order. `notes`: what the tool is asked before,
    and what depends on its answers, in sentences without a full stop."""

    calls: tuple[HttpPreview | CommandPreview, ...] = ()
    notes: tuple[str, ...] = ()
