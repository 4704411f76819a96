"""What comes before and after an environment, on its page: plain data.

Text from outside is one line without control characters; escaping is the templates'.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from webhook.deployments.difference import on_github
from webhook.deployments.phases import Phase
from webhook.gates.contract import Upstream
from webhook.store.promotions import Next
from webhook.web import paths
from webhook.web.pages.elements import Link, line, version
from webhook.web.pages.environment.data import EnvironmentData, Where


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainView:
    """Another environment of the chain. `same`: it has what this one has. `diff`: on GitHub.
    `promote`: the fields of the form that promotes; none where there is nothing to. `what`: its
    question."""

    environment: Link
    has: str
    state: str
    same: bool
    diff: Link | None
    promote: Mapping[str, str]
    what: str


def chain_before(data: EnvironmentData, repo_url: str) -> tuple[ChainView, ...]:
    return tuple(_before(one, data, repo_url) for one in data.chain.before)


def chain_after(data: EnvironmentData, repo_url: str) -> tuple[ChainView, ...]:
    return tuple(_after(one, data, repo_url) for one in data.chain.after)


def _before(one: Upstream, data: EnvironmentData, repo_url: str) -> ChainView:
    where, here, live = data.where, data.chain.here, _live_sha(data)
    same = one.sha == live
    promotable = one.phase is Phase.SUCCESS and not same and where.listed is not None
    target = here.newest_id if here else 0
    return ChainView(
        environment=_environment(where, one.environment),
        has=line(one.sha[:7]),
        state="" if one.phase is Phase.SUCCESS else _UPSTREAM.get(one.phase, one.phase.value),
        same=same,
        diff=_diff(repo_url, live, one.sha),
        promote=_promotion(one.id, target, where.name) if promotable else {},
        what=_question(one.sha, one.environment, where.name),
    )


_UPSTREAM = {
    Phase.IN_PROGRESS: "it is being deployed",
    Phase.QUEUED: "it waits",
    Phase.FAILURE: "it has failed",
    Phase.ERROR: "it could not run",
    Phase.INACTIVE: "it is not there any more",
}


def _after(one: Next, data: EnvironmentData, repo_url: str) -> ChainView:
    where, newest, live = data.where, data.newest, _live_sha(data)
    same = data.live is not None and one.live_sha == live
    under_way = newest is not None and newest.sha == one.newest_sha
    state = "it gets this by itself" if one.promised else ""
    if under_way and not same:
        state = "this was requested there already"
    promote: Mapping[str, str] = {}
    covered = same or under_way or one.promised
    if newest is not None and newest.phase is Phase.SUCCESS and not covered:
        promote = _promotion(newest.id, one.newest_id, one.environment)
    return ChainView(
        environment=_environment(where, one.environment),
        has=version(one.live_ref, one.live_sha) if one.live_sha else "",
        state=state,
        same=same,
        diff=_diff(repo_url, one.live_sha, live),
        promote=promote,
        what=_question(newest.sha if newest else "", where.name, one.environment),
    )


def _live_sha(data: EnvironmentData) -> str:
    return data.live.sha if data.live else ""


def _promotion(deployment_id: int, target: int, environment: str) -> dict[str, str]:
    """`target`: the newest deployment there now."""
    return {
        "deployment": str(deployment_id),
        "target": str(target),
        "input.environment": environment,
    }


def _question(sha: str, source: str, target: str) -> str:
    return f"Deploy {line(sha[:7])}, which {line(source)} has, to {line(target)}?"


def _environment(where: Where, name: str) -> Link:
    return Link(paths.environment(where.repo, name), line(name))


def _diff(repo_url: str, base: str, head: str) -> Link | None:
    if not (repo_url and base and head) or base == head:
        return None
    return Link(on_github(repo_url, "compare", f"{base}...{head}"), "Compare on GitHub")
