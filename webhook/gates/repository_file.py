"""The repository's own deploy.yml: what cannot be read, or is wrong, lets nothing start.

What the file says itself tightens the environment before any gate is asked
(`webhook.engine.policy`).
"""

from typing import Literal

from webhook.config.destinations import Strict
from webhook.gates.contract import Gate, Snapshot, Verdict, keys_of

NAME = "repository_file"
Use = Literal["tighten", "ignore"]


class RepositoryFileKeys(Strict):
    repository_file: Use | None = None
    """tighten: the deploy.yml of the repository itself counts, too, where it is stricter than this
    file; ignore: it does not, the default."""


def tightens(environment: Strict) -> bool:
    return keys_of(environment, RepositoryFileKeys).repository_file == "tighten"


def decide(snapshot: Snapshot) -> Verdict:
    return snapshot.file


def key_in_use(environment: Strict) -> str:
    return "repository_file" if tightens(environment) else ""


REPOSITORY_FILE = Gate(
    name=NAME,
    decide=decide,
    Keys=RepositoryFileKeys,
    FileKeys=RepositoryFileKeys,
    key_in_use=key_in_use,
)
