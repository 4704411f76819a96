"""Which environment of deploy.yml a name belongs to, and what `explain` says of it.

Errors: none; why there is no answer stands in it.
"""

from dataclasses import dataclass

from webhook.config.environments import Config
from webhook.config.routing import no_route_message, route
from webhook.deployments.explanation import Explanation
from webhook.deployments.locks import is_pattern
from webhook.engine.explain import explain, question_about
from webhook.errors import Rejected, RetryAt, UnknownOutcome, UserError
from webhook.github.repositories import is_full_name
from webhook.logs import hidden
from webhook.web.github_calls import Outside
from webhook.web.pages.elements import line
from webhook.web.policy_services import asking
from webhook.web.services import PageServices

# Seconds that a person waits for GitHub.
WITHIN = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """As it stands in the address. `environment_error`, `repo_error`: beside their fields."""

    environment: str = ""
    repo: str = ""
    environment_error: str = ""
    repo_error: str = ""

    @property
    def complete(self) -> bool:
        return bool(self.environment and self.repo) and not (
            self.environment_error or self.repo_error
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """`number`: of the environment that it belongs to; 0: `unmatched` says why there is none.
    `error`: why GitHub's part is not known."""

    number: int = 0
    name: str = ""
    unmatched: str = ""
    explanation: Explanation | None = None
    error: str = ""


def asked(environment: str, repo: str) -> Asked:
    environment, repo = line(environment), line(repo)
    if not (environment or repo):
        return Asked()
    environment_error = repo_error = ""
    if not environment:
        environment_error = "Write the name of an environment, such as production."
    elif is_pattern(environment):
        environment_error = "This is a pattern; write a name that matches it."
    if not is_full_name(repo):
        repo_error = "Write OWNER/NAME: the same name may be another environment elsewhere."
    return Asked(
        environment=environment,
        repo=repo,
        environment_error=environment_error,
        repo_error=repo_error,
    )


def answer(services: PageServices, wanted: Asked) -> Answer:
    config: Config = services.config.config
    found = route(config, wanted.repo, wanted.environment)
    if found is None:
        message = no_route_message(config, wanted.repo, wanted.environment)
        return Answer(unmatched=line(services.redactor.text(message)))
    number = next(index for index, one in enumerate(config.envs, 1) if one is found)
    name = line(services.redactor.text(found.name))
    explanation, error = _explained(services, wanted)
    return Answer(number=number, name=name, explanation=explanation, error=error)


def _explained(services: PageServices, wanted: Asked) -> tuple[Explanation | None, str]:
    async def ask(outside: Outside) -> Explanation:
        async with asking(services, outside) as given:
            question = await question_about(given, wanted.repo, wanted.environment)
            return await explain(given, question)

    try:
        found = services.github.run(ask, WITHIN)
    except UserError as error:
        return None, line(services.redactor.text(str(error)))
    except (Rejected, RetryAt, UnknownOutcome) as error:
        text = f"GitHub does not say now what a deployment would meet: {error}; try again"
        return None, line(services.redactor.text(text))
    explanation: Explanation = hidden(found, services.redactor)
    return explanation, ""
