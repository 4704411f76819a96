"""Jobs of one workflow run that wait for the same environment: GitHub takes one answer for all,
also where the run was started again meanwhile.
"""

from webhook.deployments.phases import Phase
from webhook.engine import transitions
from webhook.engine.services import Services
from webhook.engine.transitions import Transition
from webhook.store import deployments, protection_rules
from webhook.store.database import Async
from webhook.store.deployments import DeploymentRow

ASKED_AGAIN = "GitHub has not heard yet that it may go on, so its gates are asked again"


async def end_earlier(
    services: Services, connection: Async, row: DeploymentRow
) -> list[DeploymentRow]:
    """Those of which somebody else has started the run again: whoever asks for the newest must not
    be the one who lets it through with an older one. Events may come in any order. Returns what
    still waits."""
    waiting = await protection_rules.together(connection, row)
    kept = []
    for one in waiting:
        newer = next(
            (other for other in reversed(waiting) if transitions.is_other_attempt(one, other)), None
        )
        if newer is None:
            kept.append(one)
            continue
        ended = Transition(Phase.ERROR, f"Its run was started again: deployment {newer.id}")
        await transitions.learn(services, connection, one, ended)
    return kept


async def take_back(
    services: Services, connection: Async, row: DeploymentRow
) -> list[DeploymentRow]:
    """What was let through together, and GitHub has not heard of, waits again."""
    columns: deployments.Columns = {
        "started_at": None,
        "config_digest": "",
        "deadline": None,
        "rule_check_at": services.clock(),
    }
    for one in await protection_rules.let_through_with(connection, row):
        again = Transition(one.phase, ASKED_AGAIN)
        row = await transitions.apply(services, connection, one, again, columns=columns)
    return await end_earlier(services, connection, row)
