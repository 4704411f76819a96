"""What of the board is shown: the values in its address."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from webhook.text import one_line
from webhook.web import paths

# What an environment can be, and what the form calls it.
STATES: Mapping[str, str] = {
    "running": "running",
    "waiting": "waiting",
    "failed": "failed",
    "succeeded": "succeeded",
    "locked": "locked",
    "frozen": "frozen",
    "drift": "differs from the stage before",
}
_LONGEST = 200
# Less of a sha says nothing.
_LEAST_OF_SHA = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """`q`: terms, each of which is found in an environment's repository, name, ref or people, or
    begins its sha. `after`: the repository after which the page begins. `unknown`: a state that
    does not exist."""

    q: str = ""
    state: str = ""
    environment: str = ""
    production: bool = False
    mine: bool = False
    after: str = ""
    unknown: str = ""

    @classmethod
    def of(cls, arguments: Mapping[str, str]) -> "Filters":
        given = {name: one_line(text, _LONGEST) for name, text in arguments.items()}
        state = given.get("state", "").lower()
        return cls(
            q=given.get("q", ""),
            state=state if state in STATES else "",
            environment=given.get("environment", ""),
            production=bool(given.get("production")),
            mine=bool(given.get("mine")),
            after=given.get("after", ""),
            unknown="" if state in STATES else state,
        )

    @property
    def narrow(self) -> bool:
        """Whether anything is left out."""
        return bool(self.q or self.state or self.environment or self.production or self.mine)

    @property
    def names(self) -> tuple[str, ...]:
        """Of environments that may be meant."""
        return tuple(one.lower() for one in (*self.q.split(), self.environment) if one)

    def address(self, path: str = paths.BOARD, *, after: str = "", **more: str) -> str:
        """Of the same view of `path`, after that repository."""
        return paths.with_query(
            path,
            q=self.q,
            state=self.state,
            environment=self.environment,
            production="1" if self.production else "",
            mine="1" if self.mine else "",
            after=after,
            **more,
        )

    def finds(self, texts: Iterable[str], shas: Iterable[str]) -> bool:
        text, known = "\n".join(texts).casefold(), [one.lower() for one in shas]
        return all(
            term in text
            or (len(term) >= _LEAST_OF_SHA and any(one.startswith(term) for one in known))
            for term in self.q.casefold().split()
        )
