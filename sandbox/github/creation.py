"""What GitHub checks before it makes a deployment.

Source: https://docs.github.com/rest/deployments/deployments#create-a-deployment
"""

from sandbox.github.fields import field, invalid, required
from sandbox.github.model import Json, RefusedError, Repository

MERGED_STATUS = 202


class MergedError(Exception):
    """None was made: the default branch was merged into the ref instead. No failure to GitHub."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.document: Json = {"message": message}


def check_creation(repository: Repository, body: Json) -> None:
    ref = required(body, "ref")
    if not ref or ref in repository.missing_refs:
        raise RefusedError(422, f"No ref found for: {ref}")
    # No limit is documented here but for the description of a status; so the stricter one holds.
    if len(body.get("description") or "") > 140:
        message = "description is too long (maximum is 140 characters)"
        invalid("Deployment", "description", message)
    if field(body, "auto_merge", True, bool):
        _merge(repository, ref)
    _check_contexts(repository, ref, body)


def _merge(repository: Repository, ref: str) -> None:
    default = repository.default_branch
    if ref in repository.conflicting:
        raise RefusedError(409, f"Conflict merging {default} into {ref}.")
    if ref in repository.behind:
        repository.behind.discard(ref)  # so that the next request finds nothing to merge
        raise MergedError(f"Auto-merged {default} into {ref} on deployment.")


def _check_contexts(repository: Repository, ref: str, body: Json) -> None:
    """All that were ever reported, unless the request names its own."""
    known = repository.checks.get(repository.sha(ref), {})
    wanted = field(body, "required_contexts", list(known), list)
    contexts = [{"context": name, "state": known.get(name, "pending")} for name in wanted]
    if any(context["state"] != "success" for context in contexts):
        error = {"resource": "Deployment", "field": "required_contexts", "code": "invalid"}
        message = f"Conflict: Commit status checks failed for {ref}."
        raise RefusedError(409, message, [{"contexts": contexts, **error}])
