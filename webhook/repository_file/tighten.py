"""The operator's environment, tightened by the repository's own deploy.yml.

Nothing that the repository says removes a gate; what would is ignored, and said.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from webhook.config.creators import leaves_people_out
from webhook.config.environments import Environment
from webhook.config.patterns import is_found
from webhook.config.source import ConfigError
from webhook.deployments.models import is_production
from webhook.gates.approval import NarrowedReview, Review, review_of
from webhook.gates.contract import keys_of
from webhook.gates.deployable_ref import deployable_refs
from webhook.gates.freeze import FreezeKeys
from webhook.gates.serialization import SerializationKeys
from webhook.repository_file.approvers import EXAMPLE
from webhook.repository_file.lines import (
    DEFAULT,
    LONGEST_QUOTED,
    OPERATOR,
    Line,
    of_file,
    operators_lines,
    origins,
    text_of,
)
from webhook.repository_file.model import Approvers, FileEnvironment, RepositoryFile
from webhook.text import and_more, one_line

__all__ = ["Line", "Tightened", "asks_for", "tighten"]

FILE = "deploy.yml"
_HEAD = "deploy.yml at the head of the default branch"
_LOOSENS = "it would loosen what the operator's file says"
# For the person who deploys, and so of the head alone.
_CREATION = ("task", "description", "auto_merge", "payload", "dynamic_payload")


@dataclass(frozen=True, slots=True)
class Tightened:
    """`environment`: what holds. `denial`: why nothing may start there, "" if something may;
    `way_out`: what to do about that."""

    environment: Environment
    lines: tuple[Line, ...] = ()
    denial: str = ""
    way_out: str = ""


def tighten(
    environment: Environment,
    head: RepositoryFile | None,
    at_sha: RepositoryFile | None,
    environment_name: str,
) -> Tightened:
    """`environment`: the operator's, which may be a pattern; `environment_name`: which one it is.
    `head`: the file at the head of the default branch; `at_sha`: at the deployment's own commit,
    which may add gates. None: there is none, or it is not to count."""
    errors = head.errors_for(environment_name) if head else ()
    if errors:
        return Tightened(environment, operators_lines(environment), *_invalid(errors))
    tightening = _Tightening(environment, environment_name)
    if head is not None:
        tightening.add(head, at_sha=False)
    if at_sha is not None:
        tightening.add(at_sha, at_sha=True)
    return tightening.result()


def asks_for(
    head: RepositoryFile, text: bytes, environment_name: str, full_ref: str
) -> bool | None:
    """Whether a file that is wrong would have that push deployed; None: it may. `text`: of it."""
    found = head.environment(environment_name)
    if found is not None and found.auto_deploy_on is not None:
        return is_found(found.auto_deploy_on, full_ref)
    return None if b"auto_deploy_on" in text else False


def _invalid(errors: Sequence[ConfigError]) -> tuple[str, str]:
    first, *others = errors
    _, _, message = str(first).partition(": ")
    more = f" (and {len(others)} more)" if others else ""
    where = f"line {first.line}, column {first.column}"
    return f"The repository's {FILE} is invalid, {where}: {message}{more}", f"Correct {_HEAD}"


@dataclass(slots=True)
class _Source:
    """One copy of the file."""

    environment: FileEnvironment
    at_sha: bool

    def origin(self, key: str) -> str:
        return of_file(self.environment.lines.get(key, self.environment.line), at_sha=self.at_sha)


@dataclass(slots=True)
class _Tightening:
    operators: Environment
    name: str
    sources: list[_Source] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)
    denial: str = ""
    way_out: str = ""

    def add(self, file: RepositoryFile, *, at_sha: bool) -> None:
        if at_sha and file.errors_for(self.name):
            ignored = "the copy at the deployment's commit is invalid, and adds nothing"
            self.lines.append(Line(FILE, "", "", ignored))
            return
        found = file.environment(self.name)
        if found is not None:
            self.sources.append(_Source(found, at_sha))
        elif not at_sha:
            names = [one.name for one in file.environments]
            close = get_close_matches(self.name, names, n=1)
            hint = f"; did you mean '{one_line(close[0], 40)}'?" if close else ""
            known = and_more([one_line(name, 40) for name in names], most=10)
            ignored = (
                f"has no environment '{self.name}', and tightens nothing; it has {known}{hint}"
            )
            self.lines.append(Line(FILE, "", "", ignored))

    def result(self) -> Tightened:
        self._creation()
        self._required_contexts()
        self._production()
        self._patterns()
        self._auto_deploy_on()
        self._serialization()
        self._review()
        self._frozen_windows()
        own = {line.key for line in self.lines}
        others = (one for one in operators_lines(self.operators) if one.key not in own)
        effective = self.operators.model_copy(update=self.values)
        return Tightened(effective, (*self.lines, *others), self.denial, self.way_out)

    def _set(self, key: str, value: Any, origin: str) -> None:
        self.values[key] = value
        self.lines.append(Line(key, text_of(value), origin))

    def _keep(self, key: str, value: Any, ignored: str = "") -> None:
        """The operator's, or the default."""
        self.lines.append(Line(key, text_of(value), self._operators_origin(key), ignored))

    def _operators_origin(self, key: str) -> str:
        return OPERATOR if key in self.operators.model_fields_set else DEFAULT

    def _creation(self) -> None:
        """The operator's value wins."""
        head = next((one for one in self.sources if not one.at_sha), None)
        for key in _CREATION:
            found = getattr(head.environment, key) if head else None
            if head is None or found is None:
                self._keep(key, getattr(self.operators, key))
            elif own := self._operators_own(key):
                says = f"{head.origin(key)} says {text_of(found, LONGEST_QUOTED)}"
                ignored = f"{says}; the operator's {own} wins"
                self._keep(key, getattr(self.operators, key), ignored)
            else:
                self._set(key, found, head.origin(key))

    def _operators_own(self, key: str) -> str:
        """What of the operator's stands against a key of the file; "" if nothing does."""
        given = self.operators.model_fields_set
        if key in given:
            return "value"
        # Inputs would take its place.
        return "payload" if key == "dynamic_payload" and "payload" in given else ""

    def _required_contexts(self) -> None:
        self._union("required_contexts", self.operators.required_contexts)

    def _union(self, key: str, operators: tuple[str, ...]) -> None:
        """All of the operator's, and those of the file that are not among them."""
        found, from_where = list(operators), [self._operators_origin(key)] if operators else []
        for source in self.sources:
            given = getattr(source.environment, key)
            several = (given,) if isinstance(given, str) else given or ()
            if added := [one for one in dict.fromkeys(several) if one not in found]:
                found += added
                from_where.append(source.origin(key))
        if len(found) == len(operators):
            return self._keep(key, operators)
        return self._set(key, tuple(found), origins(from_where))

    def _patterns(self) -> None:
        self._union("deployable_ref", deployable_refs(self.operators))

    def _auto_deploy_on(self) -> None:
        """Of the head alone. Where the operator has none, it is for those who may deploy: people,
        so that it makes nobody deploy who could not."""
        key, operators = "auto_deploy_on", self.operators.auto_deploy_on
        head = next((one for one in self.sources if not one.at_sha), None)
        pattern = head.environment.auto_deploy_on if head else None
        if head is None or pattern is None or pattern in operators:
            return self._keep(key, operators)
        if not operators and leaves_people_out(self.operators.creators):
            says = f"{head.origin(key)} says {text_of(pattern, LONGEST_QUOTED)}"
            ignored = f"{says}; the operator's creators leave"
            return self._keep(key, operators, f"{ignored} people out, whose pushes these are")
        mine = [self._operators_origin(key)] if operators else []
        return self._set(key, (*operators, pattern), origins([*mine, head.origin(key)]))

    def _production(self) -> None:
        key, operators = "production_environment", self.operators.production_environment
        source = next((one for one in self.sources if one.environment.production_environment), None)
        if source is not None and operators is not True:
            return self._set(key, True, source.origin(key))
        ignored = ""
        if is_production(self.name, operators):
            ignored = self._ignored(key, lambda one: one.production_environment is False)
        shown = is_production(self.name, operators) if operators is None else operators
        return self._keep(key, shown, ignored)

    def _serialization(self) -> None:
        key, operators = "serialization", keys_of(self.operators, SerializationKeys).serialization
        source = next((one for one in self.sources if one.environment.serialization), None)
        if source is not None and not operators:
            return self._set(key, True, source.origin(key))
        ignored = self._ignored(key, lambda one: one.serialization is False) if operators else ""
        return self._keep(key, operators, ignored)

    def _ignored(self, key: str, loosens: Any) -> str:
        """Where a copy of the file says less."""
        source = next((one for one in self.sources if loosens(one.environment)), None)
        return f"{source.origin(key)} says false; {_LOOSENS}" if source else ""

    def _frozen_windows(self) -> None:
        key, operators = "frozen_windows", keys_of(self.operators, FreezeKeys).frozen_windows
        found = list(operators)
        self.lines += [Line(key, one.label, OPERATOR) for one in operators]
        for source in self.sources:
            for index, one in enumerate(source.environment.frozen_windows):
                if one not in found:
                    found.append(one)
                    self.lines.append(Line(key, one.label, source.origin(f"{key}[{index}]")))
        if not found:
            self.lines.append(Line(key, text_of(()), DEFAULT))
        elif len(found) > len(operators):
            self.values[key] = tuple(found)

    def _review(self) -> None:
        operators = review = review_of(self.operators)
        from_where = [self._operators_origin("review")] if review.enabled else []
        ignored = ""
        if operators.enabled:
            ignored = self._ignored("review", lambda one: one.review_enabled is False)
        for source in self.sources:
            for approvers in source.environment.approvers:
                origin = source.origin(approvers.key)
                narrowed = _narrowed(review, approvers)
                impossible = _impossible(operators, narrowed, [*from_where, origin])
                if impossible and source.at_sha:
                    # An old commit must stay one to which people can return.
                    ignored = f"{origin} leaves too few who may approve, and adds nothing"
                elif impossible:
                    # The gate itself would say the same once more.
                    self.lines.append(Line("review", text_of(narrowed), origin))
                    self.denial, self.way_out = impossible
                    return
                elif narrowed != review:
                    review = narrowed
                    from_where.append(origin)
        if review is not operators:
            self.values["review"] = review
        origin = origins(from_where) or self._operators_origin("review")
        self.lines.append(Line("review", text_of(review), origin, ignored))


def _narrowed(review: Review, approvers: Approvers) -> Review:
    """Without anybody where neither file says who has to approve."""
    if approvers.logins is None and review.enabled:
        return review.model_copy(update={"count": max(review.count, approvers.count)})
    if review.enabled:
        return NarrowedReview.of(review, approvers.logins or (), approvers.count)
    logins = approvers.logins or ()
    return Review.model_construct(enabled=True, reviewers=logins, count=approvers.count)


def _impossible(
    operators: Review, review: Review, from_where: Sequence[str]
) -> tuple[str, str] | None:
    """A denial and the way out, where not enough people may approve."""
    able = list(review.approvers.values())
    if review.asked_teams or len(able) >= review.count:
        return None
    *_, where = from_where
    if not (review.reviewers or review.teams):
        text = f"{where[0].upper()}{where[1:]} asks for approval, and neither file says of whom"
        return text, f"Write {EXAMPLE} there, or remove approval"
    who = f"only {and_more(able, most=3)}" if able else "nobody"
    needed = f"{review.count} approval{'' if review.count == 1 else 's'}"
    both = " by both files" if operators.enabled else ""
    whom = "reviewers of the operator's file" if operators.enabled else "more reviewers"
    return f"Needs {needed}, and {who} may give one{both}: {where}", f"Name {whom} there"
