"""What the pages show on which people see what a deployment or a rollback would do: plain data.

Text from outside is one line without control characters; escaping is the templates'.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from webhook.config.creation import Creation, Input, payload_of
from webhook.deployments.blockers import NO_KNOWN_END
from webhook.deployments.changelog import Changelog, commits
from webhook.deployments.difference import on_github
from webhook.deployments.explanation import Explanation, Section
from webhook.store.deployments import DeploymentRow
from webhook.web import paths
from webhook.web.pages.changelog import ChangesView, commit_view
from webhook.web.pages.elements import Link, Moment, line, moment, version
from webhook.web.pages.environment.preview import Preview

_BOOLEAN = ("true", "false")


@dataclass(frozen=True, slots=True, kw_only=True)
class InputView:
    """`options`: what can be chosen; none where it is typed. `field`: the name in the form."""

    field: str
    label: str
    hint: str
    value: str
    options: tuple[str, ...]
    required: bool

    @property
    def choices(self) -> list[tuple[str, str]]:
        """Values and texts."""
        text = "choose" if self.required else "not set"
        nothing = [] if self.value else [("", text)]
        return [*nothing, *((one, one) for one in self.options)]


@dataclass(frozen=True, slots=True, kw_only=True)
class GateView:
    """`kind`: as of a label."""

    gate: str
    kind: str
    verdict: str
    until: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewView:
    """`error`: why there is nothing to see. `sha`: None where nobody knows it. `gates`: those that
    would not let it through at once; `passes`: all let it. `sections`: what else holds."""

    error: str
    ref: str
    sha: Link | None
    same: bool
    changes: ChangesView | None
    gates: tuple[GateView, ...]
    passes: bool
    sections: tuple[Section, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RollBackView:
    """From `deployment` to `target`. `refusal`: why it is not possible now."""

    deployment: int
    target: int
    from_text: str
    to_text: str
    from_path: str
    to_path: str
    at: Moment
    refusal: str


def build_roll_back(newest: DeploymentRow, old: DeploymentRow) -> RollBackView:
    return RollBackView(
        deployment=newest.id,
        target=old.id,
        from_text=version(newest.shown_ref, newest.sha),
        to_text=version(old.shown_ref, old.sha),
        from_path=paths.deployment(newest.repo, newest.id),
        to_path=paths.deployment(old.repo, old.id),
        at=moment(old.ended_at or old.phase_at),
        refusal=_refusal(newest),
    )


def _refusal(newest: DeploymentRow) -> str:
    if newest.watched:
        return "A GitHub Actions workflow deploys this; run the workflow again on GitHub."
    if not newest.phase.final:
        return f"Deployment {newest.id} is still running; cancel it on its page first."
    return ""


def build_inputs(creation: Creation, given: Mapping[str, str]) -> tuple[InputView, ...]:
    """Of the environment's dynamic payload."""
    if not creation.dynamic_payload.enabled:
        return ()
    inputs = creation.dynamic_payload.inputs
    return tuple(_input(name, one, given.get(name, "")) for name, one in inputs.items())


def input_error(creation: Creation, given: Mapping[str, str]) -> str:
    try:
        payload_of(creation, given)
    except ValueError as error:
        return line(str(error))
    return ""


def _input(name: str, one: Input, given: str) -> InputView:
    default = "" if one.default is None else str(one.default)
    options = _BOOLEAN if one.type == "boolean" else one.options
    if one.type == "boolean":
        default = default.lower()
    optional = "" if one.required and not default else " (optional)"
    return InputView(
        field=f"input.{name}",
        label=f"{line(name)}{optional}",
        hint=line(one.description),
        value=line(given or default),
        options=tuple(map(line, options)),
        required=one.required and not default,
    )


def build_preview(
    preview: Preview, repo_url: str, base: str, *, taken_back: bool = False
) -> PreviewView:
    """`base`: the commit that is there."""
    found = preview.explanation
    gates = tuple(_gates(found)) if found else ()
    return PreviewView(
        error=line(preview.error),
        ref="" if preview.ref == preview.sha else line(preview.ref),
        sha=_sha(repo_url, preview.sha) if preview.sha else None,
        same=bool(preview.sha) and preview.sha == base,
        changes=_changes(preview, repo_url, base, taken_back=taken_back),
        gates=gates,
        passes=found is not None and not gates,
        sections=tuple(_others(found)) if found else (),
        notes=tuple(line(one) for one in preview.notes),
    )


def _sha(repo_url: str, sha: str) -> Link:
    return Link(on_github(repo_url, "commit", sha) if repo_url else "", line(sha[:7]))


def _changes(preview: Preview, repo_url: str, base: str, *, taken_back: bool) -> ChangesView | None:
    if not (preview.sha and base) or preview.sha == base:
        return None
    pair = (preview.sha, base) if taken_back else (base, preview.sha)
    url = on_github(repo_url, "compare", "...".join(pair)) if repo_url else ""
    found = preview.changes
    diff = Link(url, "All of it on GitHub") if url else None
    if found is None:
        return ChangesView(summary="", commits=(), more=None, diff=diff)
    more = Link(url, f"and {found.more} more") if found.more else None
    summary = _taken_back(found) if taken_back else found.summary
    return ChangesView(
        summary=summary, commits=tuple(map(commit_view, found.commits)), more=more, diff=diff
    )


def _taken_back(found: Changelog) -> str:
    brings = f", and brings {commits(found.behind)} back" if found.behind > 0 else ""
    if found.total <= 0:
        return f"Brings {commits(found.behind)} back" if found.behind > 0 else ""
    return f"Takes back {commits(found.total)}{brings}"


_KINDS = {"waits": "hold", "refuses": "bad"}
_VERDICTS = {"waits": "waits for", "refuses": "refused by"}


def _gates(found: Explanation) -> Sequence[GateView]:
    rows = (row.cells for one in found.sections if one.name == "gates" for row in one.rows)
    return [
        GateView(
            gate=line(cells["gate"]),
            kind=_KINDS[cells["verdict"]],
            verdict=f"{_VERDICTS[cells['verdict']]} {line(cells['gate'])}",
            until=_until(cells["until"]),
            reason=line(cells["reason"]),
        )
        for cells in rows
        if cells["verdict"] in _KINDS
    ]


def _until(text: str) -> str:
    return f"until {line(text)}" if text and text != NO_KNOWN_END else text


def _others(found: Explanation) -> Sequence[Section]:
    """The policy stands on the page of the environment."""
    return [one for one in found.sections if one.name not in ("gates", "policy")]
