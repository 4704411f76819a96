"""Refusals in GitHub's words: the documents that its clients know how to read.

Source: docs.github.com, "Troubleshooting the REST API".
"""

from typing import Any

from flask import Response, jsonify

RETRY_AFTER = 10
DOCS = "https://docs.github.com/rest"


# Not a dataclass: leaving a `with` sets an exception's traceback.
class Refusal(Exception):
    """An answer rather than an error."""

    def __init__(self, status: int, message: str, *faults: dict[str, str]) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.faults = faults

    @property
    def why(self) -> str:
        """In one line, for the log."""
        return ": ".join([self.message, *(fault.get("message", "") for fault in self.faults)])

    def answer(self, page: str = "") -> Response:
        """`page` is what GitHub's documentation says of the call."""
        document: dict[str, Any] = {"message": self.message}
        if self.faults:
            document["errors"] = self.faults
        document |= {"documentation_url": DOCS + page, "status": str(self.status)}
        response = jsonify(document)
        response.status_code = self.status
        if self.status == 503:
            response.headers["Retry-After"] = str(RETRY_AFTER)
        return response


def not_found() -> Refusal:
    """For what must not be told apart from what is not there, too."""
    return Refusal(404, "Not Found")


def invalid(resource: str, field: str, words: str) -> Refusal:
    fault = {"resource": resource, "field": field, "code": "custom", "message": words}
    return Refusal(422, "Validation Failed", fault)


def missing(resource: str, field: str) -> Refusal:
    words = f"{field} is missing"
    fault = {"resource": resource, "field": field, "code": "missing_field", "message": words}
    return Refusal(422, "Validation Failed", fault)
