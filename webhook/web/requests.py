"""What the forms of pages send, and what the viewer has requested by them lately."""

import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from webhook.deployments.actions import OfferedAction
from webhook.store import actions
from webhook.store.actions import Requested
from webhook.store.database import Sync
from webhook.text import one_line
from webhook.web import paths
from webhook.web.auth.sessions import Session, Sessions

_TONES = {"waiting": "running", "done": "good", "refused": "error", "failed": "bad"}
_TEXTS = {"waiting": "requested, it is being done", "done": "done"}


@dataclass(frozen=True, slots=True)
class FormFields:
    """What each form of a page sends: `token` of the session, and `key`, by which the same form
    sent twice counts once."""

    token: str = ""
    key: str = ""


def form_fields(sessions: Sessions, session: Session | None) -> FormFields:
    if session is None:
        return FormFields()
    return FormFields(sessions.form_token(session), secrets.token_urlsafe(12))


@dataclass(frozen=True, slots=True)
class RequestView:
    """`where`: the environment; "" where it concerns more than one."""

    label: str
    tone: str
    text: str
    where: str
    link: str


def requests_of(
    connection: Sync,
    session: Session | None,
    registry: Mapping[str, OfferedAction],
    about: Callable[[Requested], bool],
) -> list[RequestView]:
    """Those that are `about` what the page shows."""
    if session is None:
        return []
    found = actions.requested_on_page(connection, session.person.id)
    return list(_views(registry, (one for one in found if about(one))))


def _views(
    registry: Mapping[str, OfferedAction], found: Iterable[Requested]
) -> Iterable[RequestView]:
    said = set[tuple[int, str]]()
    for one in found:
        action = registry.get(one.kind)
        label = (action.label if action else "") or one.kind.replace("_", " ").capitalize()
        created = one.created_deployment_id
        where = one.repo_id, one.environment.lower()
        text = _text(one, newest=where not in said)
        said.add(where)
        link = paths.deployment(one.repo, created) if created else ""
        at = one_line(f"{one.repo}: {one.environment}", 120) if one.environment else ""
        yield RequestView(label, _TONES[one.outcome], text, at, link)


def _text(one: Requested, *, newest: bool) -> str:
    """What was done says more than that it was: of a lock, what it does not hold. Of what was done
    there before, that may not be true any more."""
    if newest and one.outcome == "done" and one.message and one.created_deployment_id is None:
        return f"done. {one.message}"
    return _TEXTS.get(one.outcome) or one.message
