"""The settings in use. Of a secret (`webhook.settings` says which are), only whether it is set."""

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import unquote

from webhook.logs import Redactor
from webhook.settings import Settings, Shown
from webhook.web.pages.elements import line


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingView:
    """`kind` and `state`: as of a label. `value`: "" where there is none, or it is a secret."""

    name: str
    value: str
    secret: bool
    kind: str
    state: str
    help: str


@dataclass(frozen=True, slots=True)
class Group:
    title: str
    settings: tuple[SettingView, ...]


def build_settings(settings: Settings, redactor: Redactor) -> tuple[Group, ...]:
    groups: dict[str, list[SettingView]] = {}
    for one in settings.shown():
        groups.setdefault(one.group, []).append(_view(one, settings, redactor))
    return tuple(Group(title, tuple(views)) for title, views in groups.items())


def _view(one: Shown, settings: Settings, redactor: Redactor) -> SettingView:
    is_set = one.is_set and not _is_embedded(one, settings)
    state = "set" if is_set else "default" if one.about.default is not None else "not set"
    if one.about.name == "DATABASE_URL" and settings.own_store and not is_set:
        state = "not used"
    return SettingView(
        name=one.about.name,
        value=line(redactor.text(one.text)),
        secret=one.about.secret,
        kind="good" if is_set else "past",
        state=state,
        help=one.about.description,
    )


def _is_embedded(one: Shown, settings: Settings) -> bool:
    """The process that starts the embedded PostgreSQL gives its address to those that it starts."""
    own = (one.about.name == "GITPLOY_STORE_SOURCE" and settings.own_store) or ""
    return f"host={settings.data_dir}/" in unquote(own)


def warnings_of(settings: Settings, redactor: Redactor) -> Iterable[str]:
    return [line(redactor.text(one)) for one in settings.warnings]
