"""deploy.yml's environments in the order in which they are matched, and what holds in each.

Options of tools and addresses of notifiers may hold secrets: only their names are shown.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from handlers import durations
from webhook.config.destinations import Destination
from webhook.config.environments import Config, Environment
from webhook.engine.policy import FilePolicy
from webhook.gates import GATES
from webhook.gates.contract import Gate, keys_of
from webhook.gates.repository_file import REPOSITORY_FILE, tightens
from webhook.gates.serialization import SERIALIZATION, SerializationKeys
from webhook.logs import Redactor
from webhook.repository_file.lines import OPERATOR
from webhook.text import and_more
from webhook.web.pages.elements import line
from webhook.web.pages.policy import PolicyLine, lines_of_policy

# Of a page.
ON_A_PAGE = 30
_MOST_NAMES = 6
_NOT_SHOWN = "values are not shown, as they may be secrets"


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentLine:
    """`number`: its turn, from 1; `at`: its line in deploy.yml, 0 if nobody knows. `held` False:
    its tool starts by itself, past every gate. `lines`: what is set in the file; `defaults`: the
    rest."""

    number: int
    at: int
    name: str
    repos: str
    description: str
    production: bool
    handler: str
    gates: tuple[str, ...]
    held: bool
    timeout: str
    wait_limit: str
    notifies: tuple[str, ...]
    automatic: str
    tightens: bool
    lines: tuple[PolicyLine, ...]
    defaults: tuple[PolicyLine, ...]


def build_environments(config: Config, redactor: Redactor, start: int) -> list[EnvironmentLine]:
    """`start`: how many come before the first one that is shown."""
    shown = range(start, min(start + ON_A_PAGE, len(config.envs)))
    return [_line(config, index, redactor) for index in shown]


def _line(config: Config, index: int, redactor: Redactor) -> EnvironmentLine:
    def clean(text: str) -> str:
        return line(redactor.text(text))

    one = config.envs[index]
    lines, defaults = lines_of_policy(config, GATES, one, FilePolicy(one), redactor)
    positions = config.lines_of(one)
    more = [
        PolicyLine(key, clean(value), f"{OPERATOR}, line {positions[key]}")
        for key, value in _unlisted(one)
        if key in positions
    ]
    return EnvironmentLine(
        number=index + 1,
        at=positions.get("name", 0),
        name=clean(one.name),
        repos=clean(", ".join(one.repos)) if one.repos != ("*",) else "",
        description=clean(one.description),
        production=bool(one.production_environment),
        handler=clean(one.handler),
        gates=tuple(gate.name.replace("_", " ") for gate in GATES.values() if _holds(gate, one)),
        held=one.can_be_held,
        timeout=durations.write(one.timeout.total_seconds()),
        wait_limit=durations.write(one.wait_limit.total_seconds()),
        notifies=tuple(clean(text) for text in _notified(one)),
        automatic=clean(", ".join(one.auto_deploy_on)),
        tightens=tightens(one),
        lines=(*lines, *more),
        defaults=defaults,
    )


def _holds(gate: Gate, environment: Environment) -> bool:
    """Besides locks, which hold everywhere, and the repository's file, which has a column."""
    if gate is SERIALIZATION:  # it is so by default, too
        return environment.can_be_held and keys_of(environment, SerializationKeys).serialization
    return gate is not REPOSITORY_FILE and bool(gate.key_in_use(environment))


def _notified(environment: Environment) -> Iterator[str]:
    for notifier, one in environment.destinations():
        yield from _addresses(notifier, one)


def _addresses(notifier: str, one: Destination) -> Iterator[str]:
    states = ("failures",) if one.only else one.states or ()
    limits = [", ".join(states), f"of {and_more(one.repos, most=3)}" if one.repos else ""]
    suffix = "; ".join(part for part in limits if part)
    for main, text in ((True, ""), (False, "failures")):
        if address := one.address(main=main):
            about = "; ".join(part for part in (text, suffix) if part)
            yield f"{notifier}:{one.name(address)}{f' ({about})' if about else ''}"


def _unlisted(environment: Environment) -> Iterator[tuple[str, str]]:
    """Keys of which only a part may be shown."""
    names = _names_of_options(environment)
    yield "with", f"{and_more(names, most=_MOST_NAMES)}; {_NOT_SHOWN}" if names else "none"
    for notifier in dict.fromkeys(name for name, _ in environment.destinations()):
        yield notifier, "; ".join(_of_notifier(environment, notifier))


def _of_notifier(environment: Environment, notifier: str) -> Iterator[str]:
    for name, one in environment.destinations():
        if name == notifier:
            yield from _addresses(name, one)


def _names_of_options(environment: Environment) -> Sequence[str]:
    fields = type(environment.options).model_fields
    return [
        fields[name].alias or name
        for name in fields
        if name in environment.options.model_fields_set
    ]
