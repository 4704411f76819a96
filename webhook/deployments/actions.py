"""Actions as plain data: what a person requests, and what decides whether it is offered."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Protocol, Self

from webhook.deployments.notice import Button, Confirmation, DeploymentNotice, Style
from webhook.deployments.phases import Phase
from webhook.text import one_line


@dataclass(frozen=True, slots=True)
class Requester:
    """`team`: the workspace whose app was used. `user` is U…, of another workspace T…/U…."""

    team: str
    user: str
    name: str


@dataclass(frozen=True, slots=True)
class Reply:
    """Where the reply goes. `url`: Slack's response_url, valid for half an hour; `trigger` opens a
    form for three seconds. `confirms`: the action that waited for this press."""

    url: str = field(default="", repr=False)
    trigger: str = field(default="", repr=False)
    confirms: int = 0

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        return cls(**document)


def request_key(*parts: str) -> str:
    """The same for the same parts. Short, and without secrets: one of the parts may be one, as a
    trigger id of Slack's is."""
    return hashlib.sha256("\n".join(parts).encode(errors="replace")).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionRequest:
    """`key` is the same however often Slack delivers the same press. `kind` is the action's name.
    Of one deployment, one action of an `exclusive_group` is done. For a form, `repo` is what it
    begins with. `source`: where it is requested, "" for Slack. `target`: the other deployment of
    which the press's confirmation spoke. `inputs`: of the environment's dynamic payload, as they
    were typed. `ref_name`: the branch or tag, where `ref` is a commit. `login_id`: the number of
    the requester's account on GitHub, 0 if nobody knows."""

    key: str
    kind: str
    requester: Requester
    reply: Reply
    exclusive_group: str = ""
    deployment_id: int | None = None
    target: int = 0
    repo: str = ""
    environment: str = ""
    ref: str = ""
    ref_name: str = ""
    inputs: Mapping[str, str] = field(default_factory=dict)
    source: str = ""
    login_id: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """What decides which actions a deployment offers. `watched`: a workflow deploys it, not the
    relay. `newest`: its environment has no later one, besides those that wait for their gates.
    `rollback_target`: an earlier deployment of another commit succeeded there.
    `waits_for_approval`: people are asked whether it may start. `overridable`: it waits for gates
    that some people may skip. `promotable`: there is an environment after this one that does not
    have its commit. `missed`: it was not started, as the relay learned of it late."""

    phase: Phase
    ended: bool
    watched: bool
    cancel_requested: bool
    newest: bool
    rollback_target: bool
    waits_for_approval: bool = False
    overridable: bool = False
    promotable: bool = False
    missed: bool = False


class OfferedAction(Protocol):
    """What the engine and the pages know of an action."""

    @property
    def name(self) -> str: ...

    @property
    def label(self) -> str:
        """Of its button; "" without one."""
        ...

    @property
    def style(self) -> Style | None: ...

    @property
    def permission(self) -> Literal["admin", "write", "read"]:
        """What its requester needs in the repository on GitHub, at least."""
        ...

    @property
    def on_page(self) -> bool:
        """Whether it can be requested on a page of the relay."""
        ...

    @property
    def everywhere(self) -> bool:
        """It concerns all repositories, and names none."""
        ...

    @property
    def noun(self) -> str: ...

    def group(self, target: int, environment: str) -> str:
        """Of one deployment, one action of a group is done at most; "" excludes none."""
        ...

    def confirmation(self, notice: DeploymentNotice) -> Confirmation | None:
        """What is asked before it is requested; None: nothing."""
        ...

    @property
    def origin(self) -> str:
        """How the message of a deployment that it created begins: "rollback" for example, in which
        `{environment}` is that of the deployment that it comes from."""
        ...

    def offered(self, deployment: Snapshot) -> bool: ...

    def button(self, notice: DeploymentNotice) -> Button: ...


def offered_buttons(
    actions: Iterable[OfferedAction], deployment: Snapshot, notice: DeploymentNotice
) -> tuple[Button, ...]:
    return tuple(action.button(notice) for action in actions if action.offered(deployment))


def origin_label(origin: str, environment: str) -> str:
    """`environment`: of the deployment that an action of this `origin` was about."""
    return origin.replace("{environment}", one_line(environment, 60))
