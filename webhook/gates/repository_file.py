"""The repository's own deploy.yml: what cannot be read, or is wrong, lets nothing start.

What the file says itself tightens the environment before any gate is asked
(`webhook.engine.policy`).
"""

from webhook.gates.contract import Gate, Snapshot, Verdict

NAME = "repository_file"


def decide(snapshot: Snapshot) -> Verdict:
    return snapshot.file


REPOSITORY_FILE = Gate(name=NAME, decide=decide)
