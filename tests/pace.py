"""A relay in a hurry: it waits less between two looks, and does the same at each of them.

The paces of the product itself are those of the tests that start real processes.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from handlers import HANDLERS
from webhook import worker
from webhook.engine import runner, statuses
from webhook.jobs import queue, rescue
from webhook.slack import post
from webhook.slack.actions import create, run

# Seconds. Not less: many deployments at once would keep the machine busy with looks.
LOOK = 0.2
SOON = 0.3
POLL = 0.1


@contextmanager
def in_a_hurry() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for handler in HANDLERS.values():
            patch.setattr(handler, "pace", replace(handler.pace, least=LOOK))
        patch.setattr(worker, "POLL_EVERY", POLL)
        patch.setattr(runner, "LOOK_AGAIN", SOON)
        patch.setattr(queue, "_SHORT_WAIT", SOON)
        patch.setattr(statuses, "LOOK_AFTER", SOON)
        for module in (create, run, post):
            patch.setattr(module, "LOOK_AFTER", (SOON, *module.LOOK_AFTER[1:]))
        patch.setattr(rescue, "SWEEP_EVERY", 1)
        yield
