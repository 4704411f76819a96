"""Endpoint handlers for the tests, each created as another process would."""

from pathlib import Path
from typing import Any

from handlers.contract import Run, State
from handlers.endpoint import Endpoint, EndpointOptions
from handlers.http import Http
from tests.handlers.runs import a_context

NOWHERE = Path("/nonexistent")  # it keeps nothing
POLLED = Run("/jobs/1", State.QUEUED)


def an_endpoint(http: Http, url: str, **options: Any) -> Endpoint:
    given = {"url": url, **options}
    read = EndpointOptions.model_validate(given, context={"environ": {}})
    return Endpoint(read, a_context(NOWHERE, http=http))
