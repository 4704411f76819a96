"""The filters of lists of workflow runs, which GitHub answers from a search index.

Source: https://docs.github.com/rest/actions/workflow-runs#list-workflow-runs-for-a-repository
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from sandbox.github.model import RefusedError, now
from sandbox.github_actions.model import WorkflowRun

NAMES = ("actor", "branch", "check_suite_id", "created", "event", "head_sha", "status")
MOST = 1000
Query = Mapping[str, str]


def filtered(runs: list[WorkflowRun], query: Query, lag: timedelta) -> list[WorkflowRun]:
    """Only with a filter is the answer behind by `lag`, and capped."""
    if not any(name in query for name in NAMES):
        return runs
    indexed = now() - lag
    return [run for run in runs if run.created_at <= indexed and _matches(run, query)][-MOST:]


def _matches(run: WorkflowRun, query: Query) -> bool:
    shown = {
        "actor": run.actor.login,
        "branch": run.head_branch,
        "check_suite_id": str(run.id),
        "event": run.event,
        "head_sha": run.head_sha,
    }
    if any(name in query and query[name] != value for name, value in shown.items()):
        return False
    if "status" in query and query["status"] not in (run.status, run.conclusion):
        return False
    return "created" not in query or _created(run, query["created"])


def _created(run: WorkflowRun, wanted: str) -> bool:
    """`>=2026-11-22T10:00:00Z`, `2026-11-01..2026-11-30` and the like.

    Source: https://docs.github.com/search-github/getting-started-with-searching-on-github
    """
    at = run.created_at.replace(microsecond=0)
    first, range_, last = wanted.partition("..")
    if range_:
        return _time(first) <= at <= _time(last)
    for sign in (">=", "<=", ">", "<"):
        if wanted.startswith(sign):
            time = _time(wanted.removeprefix(sign))
            return {">=": at >= time, "<=": at <= time, ">": at > time, "<": at < time}[sign]
    return at == _time(wanted)


def _time(text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise RefusedError(422, "Validation Failed") from None
    return time if time.tzinfo else time.replace(tzinfo=UTC)
