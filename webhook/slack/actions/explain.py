"""`/deploy explain`: what holds for an environment, where each line of that comes from, and what a
deployment would meet now. The command line shows all of it."""

from collections.abc import Iterator, Sequence

from webhook.config.environments import Config
from webhook.deployments.explanation import Explanation, Row, Section
from webhook.engine.explain import Question, explain
from webhook.errors import UserError
from webhook.github import repositories
from webhook.invocation import COMMAND
from webhook.slack.actions.contract import Action
from webhook.slack.actions.permissions import Authorized, Declined, authorize
from webhook.slack.actions.services import ActionServices
from webhook.slack.actions.typed import (
    Mistyped,
    Typed,
    environment_error,
    ref_error,
    repo_error,
    require,
    spelling,
)
from webhook.slack.blocks.mrkdwn import BlockMessage, escape
from webhook.store import actions
from webhook.store.actions import ActionRow

# Slack cuts a text of more than 4,000 characters.
_LONGEST, _LONGEST_CELL = 3800, 400


class Explain(Action):
    name = "explain"
    audited = False
    on_page = False
    verb = "explain"
    usage = (
        "explain owner/repo environment [ref]",
        "shows what holds there, and what a deployment would meet now",
    )
    permission = "read"

    def typed(self, command: str, arguments: Sequence[str], config: Config) -> Typed:
        if not 2 <= len(arguments) <= 3:
            message = f"Name what to explain: `{command} explain owner/repo environment [ref]`"
            raise Mistyped(message)
        repo, environment, *rest = arguments
        ref = rest[0] if rest else ""
        require(
            repo_error(repo),
            environment_error(config, repo, environment),
            ref_error(ref) if ref else "",
        )
        return Typed(self.name, repo, spelling(config, repo, environment), ref)

    async def run(self, services: ActionServices, action: ActionRow) -> None:
        by = await authorize(services, action, self.permission)
        question = Question(
            scope=by.repository,
            environment=action.environment,
            ref=action.ref or await _default_branch(services, by),
            asker=by.login,
            asker_id=by.login_id,
        )
        try:
            found = await explain(services, question)
        except UserError as error:
            raise Declined("not_possible", str(error)) from error
        text = "\n".join(_fitted(list(_lines(found)), question))
        async with services.pool.connection() as connection:
            await actions.end(connection, action.id, "done", text, audited=False)

    async def reply(self, services: ActionServices, action: ActionRow) -> BlockMessage | None:
        if action.outcome != "done":
            return await super().reply(services, action)
        return BlockMessage(action.message, [])


async def _default_branch(services: ActionServices, by: Authorized) -> str:
    """Where an attempt before this one has found the repository, its branch is not known."""
    if by.default_branch:
        return by.default_branch
    return (await repositories.repository(services.github, by.repository)).default_branch


def _lines(found: Explanation) -> Iterator[str]:
    yield f"*{escape(found.heading, _LONGEST_CELL)}*"
    for section in found.sections:
        shown = [_line(section, row) for row in section.rows if not row.minor]
        yield f"*{section.title}*"
        yield from shown
        if section.left_out and len(shown) < len(section.rows):
            yield f"• _{section.left_out}_"
    for caveat in found.caveats:
        yield f"_{escape(caveat, _LONGEST_CELL)}_"


def _line(section: Section, row: Row) -> str:
    cells = {key: escape(row.cells[key], _LONGEST_CELL) for key in section.columns}
    first, *between, last = cells
    named = (f"line {cells[key]}" if key == "line" else cells[key] for key in between if cells[key])
    about = ", ".join(named)
    return f"• `{cells[first]}`{f' ({about})' if about else ''}: {cells[last] or 'nothing'}"


def _fitted(lines: list[str], question: Question) -> list[str]:
    """The first ones, where not all have room."""
    asks = f"{COMMAND} explain {question.scope.repo} {question.environment} --ref {question.ref}"
    rest = f"and more: `{escape(asks, _LONGEST_CELL)}` shows all of it"
    size = 0
    for number, line in enumerate(lines):
        size += len(line) + 1
        if size > _LONGEST - len(rest):
            return [*lines[:number], rest]
    return lines
