"""What would happen with a delivery now, without any effect. One at a time in each process: it
opens connections of its own, and takes a moment."""

from dataclasses import dataclass
from threading import Semaphore

from flask import Blueprint, render_template

from webhook.engine.simulate import Subject
from webhook.errors import HttpError
from webhook.web.auth.viewer import Viewer, not_found
from webhook.web.pages.deliveries.delivery import stored_delivery
from webhook.web.pages.deliveries.simulation_text import Fact, facts_of
from webhook.web.services import PageServices

# Bytes of a body that is simulated.
_LARGEST = 2_000_000


@dataclass(frozen=True, slots=True)
class SimulationPage:
    guid: str
    facts: tuple[Fact, ...]


def add_to(bp: Blueprint, services: PageServices) -> None:
    slots = Semaphore()

    @bp.get("/deliveries/<guid>/simulation")
    def simulation(guid: str) -> str:
        viewer = services.require_viewer()
        subject = _subject(services, viewer, guid)
        if not slots.acquire(blocking=False):
            raise _unavailable("Another delivery is being simulated.", retry_after=2)
        try:
            found = services.simulate(subject)
        except TimeoutError:
            raise _unavailable("It took too long.", retry_after=30) from None
        finally:
            slots.release()
        return render_template("simulation.html", page=SimulationPage(guid, (*facts_of(found),)))


def _subject(services: PageServices, viewer: Viewer, guid: str) -> Subject:
    found = stored_delivery(services, viewer, guid)
    if found is None:
        raise not_found()
    if len(found.delivery.body) > _LARGEST:
        raise HttpError(
            413,
            "This delivery is too large to be simulated on a page",
            detail="Its payload has more than 2 MB.",
            remedy="Simulate it at the command line: deliveries simulate with its GUID.",
        )
    return Subject(name=guid, event=found.delivery.event, body=found.delivery.body)


def _unavailable(detail: str, *, retry_after: int) -> HttpError:
    return HttpError(
        503,
        "It cannot be simulated at this moment",
        detail=detail,
        remedy="Load this page again in a moment.",
        retry_after=retry_after,
    )
