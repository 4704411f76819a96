"""What holds in an environment and which line says so, on its page: plain data.

Text from outside is one line without control characters; escaping is the templates'.
"""

from dataclasses import dataclass

from webhook.config.environments import Config
from webhook.gates.contract import Deny, Gates, Wait
from webhook.logs import Redactor
from webhook.web.pages.elements import Moment, line, moment
from webhook.web.pages.environment.data import EnvironmentData
from webhook.web.pages.policy import PolicyLine, lines_of_policy


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
    lines, defaults = lines_of_policy(config, gates, listed, policy, redactor)
    problem = ""
    if isinstance(policy.file, Deny | Wait):
        problem = ". ".join(part for part in (policy.file.reason, policy.file.way_out) if part)
    return PolicyView(
        lines=lines,
        defaults=defaults,
        problem=line(redactor.text(problem)),
        file_read=moment(data.file_read) if data.file_read else None,
        handler=line(listed.handler),
        held=listed.can_be_held,
    )
