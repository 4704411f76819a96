"""What comes before and after an environment, on its page: plain data.

Text from outside is one line without control characters; escaping is the templates'.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from webhook.deployments.difference import on_github
from webhook.deployments.phases import Phase
from webhook.store.promotions import Next
from webhook.web import paths
from webhook.web.pages.elements import Link, line, version
from webhook.web.pages.environment.data import EnvironmentData, Where


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainView:
    """Another environment of the chain. `same`: it has what this one has. `diff`: on GitHub.
    `promote`: the fields of the form that promotes; none where there is nothing to."""

    environment: Link
    has: str
    state: str
    same: bool
    diff: Link | None
    promote: Mapping[str, str]
    what: str


def chain_before(data: EnvironmentData, repo_url: str) -> Iterator[ChainView]:
    where, here = data.where, data.chain.here
    for one in data.chain.before:
        same = data.live is not None and one.sha == data.live.sha
        promotable = one.phase is Phase.SUCCESS and not same and where.listed is not None
        promote = {
            "deployment": str(one.id),
            "target": str(here.newest_id if here else 0),
            "input.environment": where.name,
        }
        sha = line(one.sha[:7])
        live = data.live.sha if data.live else ""
        yield ChainView(
            environment=_environment(where, one.environment),
            has=sha,
            state="" if one.phase is Phase.SUCCESS else _UPSTREAM.get(one.phase, one.phase.value),
            same=same,
            diff=_diff(repo_url, live, one.sha),
            promote=promote if promotable else {},
            what=f"Deploy {sha}, which {line(one.environment)} has, to {line(where.name)}?",
        )


_UPSTREAM = {
    Phase.IN_PROGRESS: "it is being deployed",
    Phase.QUEUED: "it waits",
    Phase.FAILURE: "it has failed",
    Phase.ERROR: "it could not run",
    Phase.INACTIVE: "it is not there any more",
}


def chain_after(data: EnvironmentData, one: Next, repo_url: str) -> ChainView:
    where, live = data.where, data.live
    same = live is not None and one.live_sha == live.sha
    newest = data.newest
    succeeded = newest is not None and newest.phase is Phase.SUCCESS
    under_way = newest is not None and newest.sha == one.newest_sha
    promote = {
        "deployment": str(newest.id) if newest else "",
        "target": str(one.newest_id),
        "input.environment": one.environment,
    }
    state = "it gets this by itself" if one.promised else ""
    if under_way and not same:
        state = "this was requested there already"
    possible = succeeded and not (same or under_way or one.promised)
    sha = line(newest.sha[:7]) if newest else ""
    return ChainView(
        environment=_environment(where, one.environment),
        has=version(one.live_ref, one.live_sha) if one.live_sha else "",
        state=state,
        same=same,
        diff=_diff(repo_url, one.live_sha, live.sha if live else ""),
        promote=promote if possible else {},
        what=f"Deploy {sha}, which {line(where.name)} has, to {line(one.environment)}?",
    )


def _environment(where: Where, name: str) -> Link:
    return Link(paths.environment(where.repo, name), line(name))


def _diff(repo_url: str, base: str, head: str) -> Link | None:
    if not (repo_url and base and head) or base == head:
        return None
    return Link(on_github(repo_url, "compare", f"{base}...{head}"), "Compare on GitHub")
