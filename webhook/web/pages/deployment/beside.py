"""What the page of a deployment shows besides the deployment itself, which depends on who looks:
what they may do, what they have requested, and the record.
"""

from dataclasses import dataclass, replace

from webhook.config.environments import Config
from webhook.deployments.notice import DeploymentNotice, NoticeApproval, Promotion
from webhook.engine.offers import Offers, first_without, next_environments, notice_of, promotion_to
from webhook.gates import GATES
from webhook.store import deployment_record, durations, notices, promotions
from webhook.store.actions import Requested
from webhook.store.database import Sync
from webhook.store.deployments import DeploymentRow
from webhook.web import paths
from webhook.web.auth.access import includes
from webhook.web.auth.sessions import Session
from webhook.web.auth.viewer import Viewer
from webhook.web.pages.changelog import changelog_since
from webhook.web.pages.deployment.acts import ActsView, Doer, build_acts
from webhook.web.pages.deployment.data import PageData
from webhook.web.pages.deployment.phases import PhasesView, build_phases
from webhook.web.pages.deployment.record import RecordView, build_record
from webhook.web.pages.elements import Link, line
from webhook.web.requests import FormFields, RequestView, requests_of
from webhook.web.services import PageServices


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """Who looks at the page: the holder of its link (`session` None) or somebody who has signed in
    and may read the repository. `token` and what follows: of their session, for its forms."""

    session: Session | None = None
    token: str = ""
    may_write: bool = False
    may_administer: bool = False

    @property
    def by_link(self) -> bool:
        return self.session is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """`form`: what each form sends; its key is the same while the same is offered, so that what is
    sent twice counts once, on whichever copy of the page. `back_to`: where a form returns.
    `delivery`: that has the whole payload, for who may see it."""

    reader: Reader
    phases: PhasesView | None
    acts: ActsView
    requests: tuple[RequestView, ...]
    record: RecordView
    form: FormFields
    back_to: str
    crumbs: tuple[Link, ...]
    delivery: Link | None
    sign_in: Link | None


def reader_of(
    services: PageServices, viewer: Viewer, row: DeploymentRow, *, by_link: bool
) -> Reader | None:
    """None: they may not see it. `by_link`: they have its link."""
    permission = viewer.permission(row.repo_id)
    if viewer.session is None or not includes(permission, "read"):
        return Reader() if by_link else None
    return Reader(
        session=viewer.session,
        token=services.sessions.form_token(viewer.session),
        may_write=includes(permission, "write"),
        may_administer=viewer.operator or includes(permission, "admin"),
    )


def read_beside(connection: Sync, services: PageServices, data: PageData, reader: Reader) -> Beside:
    row = data.row
    notice = None if reader.by_link else _notice(connection, services, row.id)
    return Beside(
        reader=reader,
        phases=build_phases(
            row,
            data.timeline,
            services.clock(),
            durations.waits_of(connection, row.id),
            durations.usual_of(connection, row),
        ),
        acts=_acts(services, data, reader, notice),
        requests=tuple(_requests(connection, services, row, reader)),
        record=_record(connection, data, reader, notice),
        form=FormFields(reader.token, _key(connection, row, reader)),
        back_to=paths.deployment(row.repo, row.id),
        crumbs=() if reader.by_link else _crumbs(row),
        delivery=_delivery(row) if reader.may_administer else None,
        sign_in=_sign_in(services, row, reader),
    )


def _notice(
    connection: Sync, services: PageServices, deployment_id: int
) -> DeploymentNotice | None:
    """What its messages show, with what it offers."""
    found = notices.read_sync(connection, deployment_id)
    if found is None:
        return None
    row, context = found
    config = services.config.config
    notice = notice_of(
        row,
        context,
        actions=services.actions,
        page_of=paths.deployment,
        changelog=changelog_since(row, context.previous_sha),
        approvals=tuple(
            NoticeApproval(login=one.login, approved=one.approved, at=one.at, comment=one.comment)
            for one in context.approvals
            if one.deployment_id == row.id
        ),
    )
    if row.requested_at is None:
        return notice
    if context.newest:
        notice = replace(notice, promotion=_promotion(connection, config, row))
    return Offers(services.actions, config, GATES).added_to(notice, row, context)


def _acts(
    services: PageServices, data: PageData, reader: Reader, notice: DeploymentNotice | None
) -> ActsView:
    if reader.session is None or notice is None:
        return ActsView()
    person = reader.session.person
    doer = Doer(login=person.login, user_id=person.id, may_write=reader.may_write)
    return build_acts(notice, data.waits.approvals, doer, services.config.config)


def _promotion(connection: Sync, config: Config, row: DeploymentRow) -> Promotion | None:
    """GitHub is not asked for what it would change; the page there says it."""
    behind = next_environments(config, row)
    every = (
        promotions.next_in_sync(connection, row.repo_id, list(behind), row.sha) if behind else []
    )
    there = first_without(row.sha, every)
    return promotion_to(there, behind[there.environment], "") if there else None


def _requests(
    connection: Sync, services: PageServices, row: DeploymentRow, reader: Reader
) -> list[RequestView]:
    def about(one: Requested) -> bool:
        return one.deployment_id == row.id

    return requests_of(connection, reader.session, services.actions, about)


def _record(
    connection: Sync, data: PageData, reader: Reader, notice: DeploymentNotice | None
) -> RecordView:
    deployment_id = data.row.id
    may = reader.may_administer
    return build_record(
        data.timeline,
        data.messages,
        deployment_record.deliveries_of(connection, deployment_id) if may else None,
        deployment_record.acts_on(connection, deployment_id) if may else None,
        notice,
    )


def _key(connection: Sync, row: DeploymentRow, reader: Reader) -> str:
    if reader.session is None:
        return ""
    last = deployment_record.last_request(connection, row.id, reader.session.person.id)
    return f"{row.id}.{row.phase}.{last}"


def _crumbs(row: DeploymentRow) -> tuple[Link, ...]:
    there = paths.environment(row.repo, row.environment)
    return Link(paths.BOARD, "Board"), Link(there, f"{line(row.repo)}: {line(row.environment)}")


def _delivery(row: DeploymentRow) -> Link | None:
    return Link(paths.delivery(row.delivery), "Its delivery") if row.delivery else None


def _sign_in(services: PageServices, row: DeploymentRow, reader: Reader) -> Link | None:
    if not reader.by_link or not services.settings.sign_in:
        return None
    here = paths.deployment(row.repo, row.id)
    return Link(paths.with_query("/signin", next=here), "Sign in with GitHub")
