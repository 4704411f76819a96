"""What holds for an environment, as pages show it: a line for each key."""

from dataclasses import dataclass

from webhook.config.environments import Config, Environment
from webhook.engine.policy import FilePolicy
from webhook.engine.policy_lines import policy_lines
from webhook.gates.contract import Gates
from webhook.logs import Redactor
from webhook.repository_file.lines import DEFAULT
from webhook.web.pages.elements import line


@dataclass(frozen=True, slots=True)
class PolicyLine:
    key: str
    value: str
    origin: str


def lines_of_policy(
    config: Config, gates: Gates, listed: Environment, policy: FilePolicy, redactor: Redactor
) -> tuple[tuple[PolicyLine, ...], tuple[PolicyLine, ...]]:
    """What is set, and what is as by default."""
    lines: list[PolicyLine] = []
    defaults: list[PolicyLine] = []
    for one in policy_lines(config, gates, listed, policy):
        is_default = one.origin == DEFAULT and not one.ignored
        (defaults if is_default else lines).append(
            PolicyLine(
                key=line(one.key),
                value=line(redactor.text(_value(one.value, one.ignored))),
                origin=line(one.origin),
            )
        )
    return tuple(lines), tuple(defaults)


def _value(value: str, ignored: str) -> str:
    return "; ".join(part for part in (value, f"ignored: {ignored}" if ignored else "") if part)
