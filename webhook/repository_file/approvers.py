"""Who has to approve, by a repository's file: `review`, and `approval`, which Gitploy had before.

Source: gitploy-io/gitploy#201, which replaced approvers who were chosen for each deployment, and
`required_count` of them, by the reviewers of the file, of whom one suffices.
"""

from webhook.gates.approval import login_error
from webhook.repository_file import keys
from webhook.repository_file.fields import Fields
from webhook.repository_file.model import Approvers
from webhook.text import and_more, one_line

EXAMPLE = "review: {enabled: true, reviewers: [octocat]}"
_MOST = 100


def read_review(env: Fields) -> tuple[bool | None, Approvers | None]:
    """Whether it is enabled, and who has to approve then."""
    entry = env.given("review")
    if entry is None:
        return None, None
    fields = Fields(env.document, entry.value, entry.path, keys.REVIEW)
    enabled = fields.boolean("enabled")
    logins = _logins(fields, "reviewers")
    count = _count(fields, "count", at_least=1) or 1
    if enabled and not logins:
        message = f"names nobody who may approve; write {EXAMPLE}"
        env.error("review", message, quoted=False)
    if enabled is None and logins:
        message = "are not asked, as enabled is false by default; write enabled: true"
        fields.warn("reviewers", message, quoted=False)
    counts = enabled and logins
    return enabled, Approvers(logins, count, env.line("review")) if counts else None


def read_approval(env: Fields, approvers: tuple[str, ...], *, review: bool) -> Approvers | None:
    """What asked for approvals never becomes none. `approvers`: those at the top of the file.
    `review`: there is one, too."""
    entry = env.given("approval")
    if entry is None:
        return None
    fields = Fields(env.document, entry.value, entry.path, keys.APPROVAL)
    enabled = fields.boolean("enabled")
    logins = _logins(fields, "approvers") or approvers
    count = _count(fields, "required_count", at_least=0) or 1
    if enabled is False or (enabled is None and not logins):
        message = f"is Gitploy's older key, and not enabled; remove it, or write {EXAMPLE}"
        env.warn_of_key("approval", message)
        return None
    whom = and_more([one_line(login, 40) for login in logins], most=5) if logins else ""
    whom = whom or "the reviewers of the operator's deploy.yml"
    needed = f"{count} approval{'' if count == 1 else 's'} of {whom}"
    instead = "remove it, as there is a review" if review else f"write {EXAMPLE}, or remove it"
    message = f"is Gitploy's older key, and taken for a review: {needed}; {instead}"
    env.warn_of_key("approval", message)
    return Approvers(logins or None, count, env.line("approval"), "approval")


def _logins(fields: Fields, key: str) -> tuple[str, ...]:
    logins = fields.texts(key) or ()
    for login in logins:
        if error := login_error(login):
            fields.error(key, f"'{one_line(login, 60)}' {error}", quoted=False)
    return logins


def _count(fields: Fields, key: str, *, at_least: int) -> int | None:
    count = fields.number(key)
    if count is not None and not at_least <= count <= _MOST:
        fields.error(key, f"is out of bounds; it is {at_least} to {_MOST}")
        return None
    return count
