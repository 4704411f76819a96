"""Answers to the question whether a deployment may start."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """`approved`: a yes; else it is a no. It counts for that commit, under the policy with that
    digest only. `user_id`: the account's number on GitHub. `deployment_id`: the deployment that it
    was given to."""

    id: int
    deployment_id: int
    sha: str
    policy: str
    user_id: int
    login: str
    approved: bool
    comment: str
    at: datetime
