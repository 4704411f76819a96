"""What the stand-in for internal tooling keeps of its jobs."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

ENDS = ("success", "failure", "error")

Json = dict[str, Any]


class Mode(StrEnum):
    """How the caller learns how a job goes."""

    ANSWERS = "answers"  # the first answer has its end
    POLLED = "polled"  # 202 with the Location to ask
    REPORTS = "reports"  # it reports by itself


@dataclass(slots=True)
class Job:
    """`headers` and `target` are of the request that started it; `asked` counts all that tried.
    `reports` has the state of each report, and the status of its answer."""

    key: str
    number: int
    mode: Mode
    document: Any
    headers: dict[str, str] = field(repr=False)
    target: str
    url: str
    environment_url: str = ""
    state: str = "queued"
    description: str = ""
    cancelled: bool = False
    asked: int = 0
    reports: list[tuple[str, int]] = field(default_factory=list)
    first_answer: tuple[int, Any, dict[str, str]] = (202, None, {})

    def keep_first_answer(self) -> None:
        """A repeated request gets the same one."""
        match self.mode:
            case Mode.ANSWERS:
                self.first_answer = (200, self.said(), {})
            case Mode.POLLED:
                location = {"Location": f"/jobs/{self.number}"}
                self.first_answer = (202, {"state": self.state}, location)
            case Mode.REPORTS:
                self.first_answer = (202, {"accepted": True}, {})

    def said(self) -> Json:
        return {
            "state": self.state,
            "description": self.description,
            "url": self.url,
            "environment_url": self.environment_url,
        }

    def status(self) -> Json:
        """As GitHub's "Create a deployment status" takes it."""
        return {
            "state": self.state,
            "description": self.description,
            "log_url": self.url,
            "environment_url": self.environment_url,
        }
