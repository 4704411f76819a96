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

    def note(self, build: Build) -> None:
        if build.status == "success":
            self.green = self.green or build
        elif is_open(build):
            self.open = self.open or build
        else:
            self.red = self.red or build


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


async def look(builds: Builds, deployment: Deployment, source: Fits | None = None) -> Seen:
    """With `source` it reads on beyond the deployment's creation while none is there or to come."""
    seen = Seen()
    since = (deployment.created_at - MARGIN).timestamp()
    for page in range(1, MOST_PAGES + 1):
        found = await builds.newest(page)
        for build in found:
            if deploys(build, deployment):
                seen.run = build  # the oldest: whoever restarts or promotes it copies the mark
            elif source and source(build, deployment):
                seen.note(build)
        enough = not source or seen.run or seen.green or seen.open
        if len(found) < PAGE or (found[-1].created < since and enough):
            break
    return seen
