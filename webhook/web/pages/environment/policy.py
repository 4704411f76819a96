"""What holds in an environment and which line says so, on its page: plain data.

Text from outside is one line without control characters; escaping is the templates'.
"""

from dataclasses import dataclass

from webhook.config.environments import Config
from webhook.engine.policy_lines import policy_lines
from webhook.gates.contract import Deny, Gates, Wait
from webhook.logs import Redactor
from webhook.repository_file.lines import DEFAULT
from webhook.web.pages.elements import Moment, line, moment
from webhook.web.pages.environment.data import EnvironmentData


@dataclass(frozen=True, slots=True)
class PolicyLine:
    key: str
    value: str
    origin: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyView:
    """`defaults`: what nobody has set. `problem`: why the repository's own file lets nothing
    start. `file_read`: when that was read."""

    lines: tuple[PolicyLine, ...]
    defaults: tuple[PolicyLine, ...]
    problem: str
    file_read: Moment | None
    handler: str
    held: bool


def build_policy(
    data: EnvironmentData, config: Config, gates: Gates, redactor: Redactor
) -> PolicyView | None:
    listed, policy = data.where.listed, data.policy
    if listed is None or policy is None:
        return None
    found = [
        (
            PolicyLine(
                key=line(one.key),
                value=line(redactor.text(_value(one.value, one.ignored))),
                origin=line(one.origin),
            ),
            one.origin == DEFAULT and not one.ignored,
        )
        for one in policy_lines(config, gates, listed, policy)
    ]
    problem = ""
    if isinstance(policy.file, Deny | Wait):
        problem = ". ".join(part for part in (policy.file.reason, policy.file.way_out) if part)
    return PolicyView(
        lines=tuple(one for one, minor in found if not minor),
        defaults=tuple(one for one, minor in found if minor),
        problem=line(redactor.text(problem)),
        file_read=moment(data.file_read) if data.file_read else None,
        handler=line(listed.handler),
        held=listed.can_be_held,
    )


def _value(value: str, ignored: str) -> str:
    return "; ".join(part for part in (value, f"ignored: {ignored}" if ignored else "") if part)
