"""What the App needs on GitHub: the permissions and events of each feature that deploy.yml can use.

One table, of which `check`, the App's manifest and docs/reference/github-permissions.md are made,
so that nothing asks for more than what is used.

Source: docs.github.com/rest/authentication/permissions-required-for-github-apps, and of events
docs.github.com/webhooks/webhook-events-and-payloads. `write` of a permission includes `read`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from handlers.contract import Options
from webhook.config.environments import Environment
from webhook.gates.approval import review_of
from webhook.gates.chains import promotion_of
from webhook.gates.repository_file import tightens

Permissions = Mapping[str, str]
LEVELS = ("none", "read", "write", "admin")


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """`feature`: what needs it, in the docs, and `used`: whether an environment does. `level`:
    error where the feature cannot work without, note where it only becomes less, optional where
    nothing asks for it, and only nobody calls it superfluous. `without`: what happens then.
    `elsewhere`: another check reports it."""

    feature: str
    used: Callable[[Environment], bool]
    without: str
    level: Literal["error", "note", "optional"]
    permissions: Permissions = field(default_factory=dict)
    events: tuple[str, ...] = ()
    elsewhere: bool = False


def _always(environment: Environment) -> bool:
    return True


def _notifies(environment: Environment) -> bool:
    every = environment.destinations()
    return any(one.address(main=True) or one.address(main=False) for _, one in every)


def _deploys_pushes(environment: Environment) -> bool:
    return bool(environment.auto_deploy_on)


def _waits_for_checks(environment: Environment) -> bool:
    automatic = environment.auto_deploy_on or promotion_of(environment).promote
    return bool(automatic and environment.required_contexts)


def _requires_contexts(environment: Environment) -> bool:
    return bool(environment.required_contexts)


def _answers_rules(environment: Environment) -> bool:
    return environment.protection_rule


def _names_teams(environment: Environment) -> bool:
    review = review_of(environment)
    of_review = review.enabled and bool(review.teams)
    return of_review or any("/" in one for one in environment.break_glass)


# The first is of all deployments, also where deploy.yml has no environment yet.
NEEDS = (
    Need(
        feature="every deployment",
        used=_always,
        permissions={"deployments": "write", "metadata": "read"},
        events=("deployment", "deployment_status"),
        without="GitHub sends no deployments, and takes no statuses",
        level="error",
    ),
    Need(
        feature="the commits in messages, and a confirmation in Slack that keeps to one commit",
        used=_notifies,
        permissions={"contents": "read"},
        without="messages do not list the deployed commits",
        level="note",
    ),
    Need(
        feature="`repository_file: tighten`",
        used=tightens,
        permissions={"contents": "read"},
        without="a repository's own deploy.yml cannot be read, so that nothing starts",
        level="error",
    ),
    Need(
        feature="`repository_file: tighten`: changes at once, and `auto_deploy_on` in that file",
        used=tightens,
        events=("push",),
        without="a changed deploy.yml counts later for what waits, and its auto_deploy_on never",
        level="note",
    ),
    Need(
        feature="`repository_file: tighten`: the check run on pull requests",
        used=tightens,
        permissions={"checks": "write", "pull_requests": "read"},
        events=("pull_request",),
        without="pull requests get no check of their deploy.yml",
        level="note",
    ),
    Need(
        feature="`repository_file: tighten`: `required_contexts` in that file, of automatic ones",
        used=tightens,
        permissions={"checks": "read", "statuses": "read"},
        events=("status", "check_run", "check_suite"),
        without="what that deploys automatically does not see its checks",
        level="note",
    ),
    Need(
        feature="`auto_deploy_on`",
        used=_deploys_pushes,
        permissions={"contents": "read"},
        events=("push",),
        without="no push is deployed",
        level="error",
    ),
    Need(
        feature="`auto_deploy_on` or `promote: auto`, with `required_contexts`",
        used=_waits_for_checks,
        permissions={"checks": "read", "statuses": "read"},
        without="nobody knows whether the checks have succeeded, so that nothing is deployed",
        level="error",
    ),
    Need(
        feature="`auto_deploy_on` or `promote: auto`, with `required_contexts`: at once",
        used=_waits_for_checks,
        events=("status", "check_run", "check_suite"),
        without="the end of a check is only found now and then",
        level="note",
    ),
    Need(
        feature="`protection_rule: true`",
        used=_answers_rules,
        permissions={"actions": "read"},
        events=("deployment_protection_rule",),
        without="GitHub does not ask the relay, so that its gates hold no job",
        level="error",
    ),
    Need(
        feature="`protection_rule: true`: the end of a run that is cancelled, at once",
        used=_answers_rules,
        events=("workflow_run",),
        without="the end of a run that is cancelled while it waits is only found within an hour",
        level="note",
    ),
    Need(
        feature="teams in `review` or `break_glass`",
        used=_names_teams,
        permissions={"members": "read"},
        without="the relay cannot see who is in a team, so that nobody of it may answer",
        level="error",
        elsewhere=True,
    ),
    Need(
        feature="`explain`: the commit of a branch",
        used=_always,
        permissions={"contents": "read"},
        without="`explain` does not know which commit would be deployed",
        level="optional",
    ),
    Need(
        feature="`explain`: the state of `required_contexts`",
        used=_requires_contexts,
        permissions={"checks": "read", "statuses": "read"},
        without="`explain` shows them as unknown",
        level="optional",
    ),
)


def of_tool(options: Options) -> Iterator[Need]:
    """What the handler of an environment needs besides."""
    if permissions := options.permissions():
        yield Need(
            feature="the tool",
            used=_always,
            permissions=permissions,
            without="its runs cannot be followed",
            level="error",
        )
    if events := tuple(options.events()):
        yield Need(
            feature="the tool",
            used=_always,
            events=events,
            without="runs are only polled",
            level="note",
        )


def needs_of(environments: Iterable[Environment], *, optional: bool = False) -> list[Need]:
    """Of these environments, each once. `optional`: those too that nothing asks for."""
    found: list[Need] = [NEEDS[0]]
    for environment in environments:
        found += [one for one in NEEDS if one.used(environment)]
        if isinstance(environment.options, Options):
            found += of_tool(environment.options)
    wanted = [one for one in found if optional or one.level != "optional"]
    return [one for number, one in enumerate(wanted) if one not in wanted[:number]]


def permissions_of(needs: Iterable[Need]) -> dict[str, str]:
    """All of them together, each at the highest level."""
    together: dict[str, str] = {}
    for need in needs:
        for name, level in need.permissions.items():
            together[name] = max(level, together.get(name, "none"), key=rank)
    return together


def events_of(needs: Iterable[Need]) -> list[str]:
    return sorted({event for need in needs for event in need.events})


def lacking(given: Permissions, needed: Permissions) -> dict[str, str]:
    return {
        name: level for name, level in needed.items() if rank(given.get(name, "none")) < rank(level)
    }


def rank(level: str) -> int:
    return LEVELS.index(level) if level in LEVELS else 0


def written(permissions: Permissions) -> list[str]:
    return [f"{name}: {level}" for name, level in sorted(permissions.items())]
