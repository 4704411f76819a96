"""Looks through Drone's builds for those that concern one deployment.

Drone cannot be asked for a commit or a parameter, so its list is read, newest first.

Source: https://github.com/harness/drone/blob/drone/handler/api/repos/builds/list.go
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from handlers.contract import Deployment
from handlers.drone.api import PAGE, Build, Builds
from handlers.drone.parameters import BUILT_FOR, MARK
from handlers.drone.states import is_open

MOST_PAGES = 10
# Drone's clock may be behind GitHub's.
MARGIN = timedelta(minutes=10)

Fits = Callable[[Build, Deployment], bool]


@dataclass(slots=True)
class Seen:
    """`run`: what deploys. `green`, `open`, `red`: the newest builds of the commit so far."""

    run: Build | None = None
    green: Build | None = None
    open: Build | None = None
    red: Build | None = None


def deploys(build: Build, deployment: Deployment) -> bool:
    """Promoted by us, or by Drone's own webhook, whatever `mode` says: one of them is enough."""
    marked = (build.params or {}).get(MARK) == str(deployment.id)
    ours = marked and build.event in ("promote", "rollback") and build.after == deployment.sha
    return ours or build.deploy_id == deployment.id


def is_source(build: Build, deployment: Deployment) -> bool:
    return build.after == deployment.sha and build.event in ("push", "tag")


def is_source_or_made(build: Build, deployment: Deployment) -> bool:
    """With `build: create`: one that was made for another deployment will do as well."""
    made = build.event == "custom" and BUILT_FOR in (build.params or {})
    return is_source(build, deployment) or (made and build.after == deployment.sha)


def is_made_for_it(build: Build, deployment: Deployment) -> bool:
    made_for = (build.params or {}).get(BUILT_FOR)
    return build.event == "custom" and made_for == str(deployment.id)


def nothing(build: Build, deployment: Deployment) -> bool:
    return False


async def look(
    builds: Builds,
    deployment: Deployment,
    run: Fits,
    source: Fits = nothing,
    *,
    whole: bool = False,
) -> Seen:
    """`whole`: reads on beyond the deployment's creation while no source is there or to come."""
    seen = Seen()
    since = (deployment.created_at - MARGIN).timestamp()
    for page in range(1, MOST_PAGES + 1):
        found = await builds.newest(page)
        for build in found:
            if run(build, deployment):
                seen.run = build  # the oldest: whoever restarts or promotes it copies the mark
            elif source(build, deployment):
                _note(seen, build)
        enough = not whole or seen.run or seen.green or seen.open
        if len(found) < PAGE or (found[-1].created < since and enough):
            break
    return seen


def _note(seen: Seen, build: Build) -> None:
    if build.status == "success":
        seen.green = seen.green or build
    elif is_open(build):
        seen.open = seen.open or build
    else:
        seen.red = seen.red or build
