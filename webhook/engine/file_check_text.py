"""The check run of a changed deploy.yml, as its reviewers read it.

The findings quote the file, which anybody may have written who can open a pull request: in a fenced
block nothing is Markdown, a link or a mention, and no line of theirs can end it.
"""

from collections.abc import Iterator, Sequence

from webhook.github.check_runs import (
    LONGEST_TITLE,
    Annotation,
    Conclusion,
    Level,
    NewCheckRun,
)
from webhook.repository_file.review import Finding, Kind
from webhook.store.file_checks import FileCheck
from webhook.text import one_line

NAME = PATH = "deploy.yml"
# Three requests. GitHub shows those in the file; the summary has as many of each kind.
MOST_ANNOTATIONS = 150
_LONGEST_MESSAGE = 400
# Of each kind, so that all of them fit the summary, of 65,535 characters.
_MOST_LINES, _LONGEST_LINE = 50, 250
_LEVELS: dict[Kind, Level] = {
    "error": "failure",
    "loosened": "warning",
    "warning": "warning",
    "held": "notice",
    "ignored": "notice",
}
_HEADINGS: dict[Kind, str] = {
    "error": "Errors: nothing can be deployed with this file",
    "loosened": "Loosened by this change",
    "held": "Removed here, and in force all the same, as the operator's deploy.yml says it",
    "warning": "Warnings",
    "ignored": "Without effect",
}


def check_run_of(check: FileCheck, findings: Sequence[Finding], *, is_there: bool) -> NewCheckRun:
    """`is_there`: the head still has the file."""
    return NewCheckRun(
        name=NAME,
        head_sha=check.sha,
        external_id=check.external_id,
        conclusion=_conclusion(findings),
        title=one_line(_title(findings, is_there=is_there), LONGEST_TITLE),
        summary="\n\n".join(_summary(check, findings, is_there=is_there)),
        annotations=tuple(_annotation(one) for one in findings if is_there)[:MOST_ANNOTATIONS],
    )


def _conclusion(findings: Sequence[Finding]) -> Conclusion:
    """Who loosens a gate may well be right: that does not fail, and is no plain success either."""
    kinds = {one.kind for one in findings}
    if "error" in kinds:
        return "failure"
    return "neutral" if "loosened" in kinds else "success"


def _title(findings: Sequence[Finding], *, is_there: bool) -> str:
    errors, loosened, warnings = (
        [one.text for one in findings if one.kind == kind]
        for kind in ("error", "loosened", "warning")
    )
    if errors:
        return f"{_count(errors, 'error')}: {errors[0]}"
    if loosened:
        return f"Loosens {_count(loosened, 'gate')}: {loosened[0]}"
    if warnings:
        return f"Loosens nothing; {_count(warnings, 'warning')}"
    return "Valid, and loosens nothing" if is_there else "Gone, and that loosens nothing"


def _count(found: Sequence[str], noun: str) -> str:
    return f"{len(found)} {noun}{'' if len(found) == 1 else 's'}"


def _summary(check: FileCheck, findings: Sequence[Finding], *, is_there: bool) -> Iterator[str]:
    if not is_there:
        yield "This change removes the file: the operator's deploy.yml counts alone then."
    for kind, heading in _HEADINGS.items():
        if found := [one for one in findings if one.kind == kind]:
            lines = [_line(one) for one in found[:_MOST_LINES]]
            if len(found) > _MOST_LINES:
                lines.append(f"and {len(found) - _MOST_LINES} more")
            yield "\n".join([f"### {heading}", "~~~text", *lines, "~~~"])
    yield "What holds for an environment, and where each line comes from, is shown by"
    yield f"~~~text\n/deploy explain {one_line(check.repo, _LONGEST_LINE)} ENVIRONMENT\n~~~"


def _line(one: Finding) -> str:
    where = f"{one.line}:{one.column}: " if one.column else f"{one.line}: " if one.line else ""
    return one_line(f"{where}{one.text}", _LONGEST_LINE)


def _annotation(one: Finding) -> Annotation:
    return Annotation(
        path=PATH,
        line=max(1, one.line),
        level=_LEVELS[one.kind],
        message=one_line(one.text, _LONGEST_MESSAGE),
    )
