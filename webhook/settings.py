"""The relay's settings, from environment variables. A new setting is one field.

Source: pydantic-settings, "Settings management".
Errors: `ConfigErrors`, for each variable that is wrong, with the reason and the remedy.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from difflib import get_close_matches
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, cast

from pydantic import (
    Field,
    PrivateAttr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from webhook import setting_types as types
from webhook.errors import ConfigErrors
from webhook.values import is_pem, misread

Forms = Callable[[str], Iterable[str]]

_CONFIG = "deploy.yml"
_USUAL_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """A setting as documented. `help` is Markdown; `default` None: not set. `forms`, of a secret:
    the texts in which its value could appear. `heroku`: more keys for app.json; None if Heroku
    sets it itself. `pem`: it holds a key itself. If one of two is needed, neither is `required` by
    itself."""

    name: str
    help: str
    default: str | None
    required: bool
    forms: Forms | None
    heroku: Mapping[str, Any] | None
    pem: bool

    @property
    def secret(self) -> bool:
        return self.forms is not None

    @property
    def description(self) -> str:
        """Without Markdown."""
        return self.help.replace("`", "")


@dataclass(frozen=True, slots=True)
class Shown:
    """A setting in use. `text`: its value, "" for a secret, and where there is none. `is_set`: else
    it is the default."""

    about: Variable
    text: str
    group: str
    is_set: bool


def _text_of(value: Any, about: Variable) -> str:
    if isinstance(value, tuple):
        return ", ".join(value)
    if isinstance(value, timedelta):
        return f"{value.days}d"
    if value is None:  # of how long something is kept, which has a default
        return types.FOREVER if about.default else ""
    return str(value)


def _itself(text: str) -> Iterator[str]:
    yield text


_NO_EXTRAS: Mapping[str, Any] = {}


def variable(
    name: str,
    help: str,  # noqa: A002 - as click and argparse call it
    *,
    default: str | None = None,
    required: bool = False,
    secret: bool | Forms = False,
    heroku: Mapping[str, Any] | None = _NO_EXTRAS,
    pem: bool = False,
) -> Any:
    forms = _itself if secret is True else secret or None
    about = Variable(
        name=name,
        help=help,
        default=default,
        required=required,
        forms=forms,
        heroku=heroku,
        pem=pem,
    )
    return Field(
        ... if required else default,
        validation_alias=name,
        repr=forms is None,
        json_schema_extra=cast("dict[str, Any]", {"variable": about}),
    )


class Variables(BaseSettings):
    """A group of settings, which can be read by itself. `title`: of the group, for people."""

    title: ClassVar[str] = "The relay and GitHub"
    model_config = SettingsConfigDict(
        frozen=True,
        case_sensitive=True,
        enable_decoding=False,
        validate_default=True,
        populate_by_name=True,
        hide_input_in_errors=True,
    )

    @field_validator("*", mode="before")
    @classmethod
    def _not_misread(cls, value: Any, info: ValidationInfo) -> Any:
        about = dict(_fields(cls))[info.field_name or ""]
        if not isinstance(value, str) or not isinstance(about, Variable) or about.pem:
            return value
        if is_pem(value):
            raise ValueError(
                "holds a private key; set GITPLOY_GITHUB_PRIVATE_KEY to it, if it is the App's"
            )
        if error := misread(value):
            raise ValueError(error)
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        *_: PydanticBaseSettingsSource,
        **_others: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only the given environment, never this process's own."""
        return (init_settings,)

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Self:
        # Platforms set variables that were left empty in a form to an empty text.
        texts = {name: text.strip() for name, text in environ.items() if text.strip()}
        try:
            settings, errors = cls.model_validate(_given(cls, texts)), []
        except ValidationError as error:
            settings, errors = None, list(_messages(cls, error))
        errors += cls.conflicts(texts)
        if settings is None or errors:
            raise ConfigErrors(errors)
        return settings

    @classmethod
    def conflicts(cls, _texts: Mapping[str, str]) -> Iterator[str]:
        """Errors in variables that depend on each other."""
        yield from ()

    @property
    def secrets(self) -> frozenset[str]:
        """Values that must never be shown or stored."""
        return frozenset(_secrets(self))

    def shown(self) -> Iterator["Shown"]:
        """Each setting as people may read it."""
        for name, about in _fields(type(self)):
            value = getattr(self, name)
            if not isinstance(about, Variable):
                yield from value.shown()
                continue
            text = "" if about.secret else _text_of(value, about)
            yield Shown(about, text, type(self).title, is_set=name in self.model_fields_set)


class Address(Variables):
    server_host: types.Host = variable(
        "GITPLOY_SERVER_HOST",
        "Host, or host:port, under which people and GitHub reach the relay",
        required=True,
    )
    server_proto: types.Proto = variable(
        "GITPLOY_SERVER_PROTO", "`http` or `https`, of the same address", default="https"
    )

    @property
    def server_url(self) -> str:
        """As browsers write it in `Origin`: in lower case, without the usual port."""
        usual = f":{_USUAL_PORTS[self.server_proto]}"
        return f"{self.server_proto}://{self.server_host.removesuffix(usual)}"


class GitHubAddress(Address):
    """What the GitHub App's manifest depends on, besides deploy.yml."""

    github_base_url: types.BaseUrl = variable(
        "GITPLOY_GITHUB_BASE_URL",
        "GitHub's API; `https://HOST/api/v3` of a GitHub Enterprise Server",
        default="https://api.github.com",
    )


class SlackApp(Variables):
    """What the Slack app's manifest depends on."""

    title = "Slack"
    scopes: types.SlackScopes | None = variable(
        "GITPLOY_SLACK_BOT_SCOPES",
        "Scopes that the Slack app requests, comma-separated, in place of all that it can use",
    )
    app_token: types.AppToken | None = variable(
        "GITPLOY_SLACK_APP_TOKEN",
        "The Slack app's token, `xapp-…`, for Socket Mode, where Slack cannot reach the relay",
        secret=True,
    )


class SlackSettings(SlackApp):
    """`base_url` ends in a slash. With a client ID, workspaces are installed by OAuth; with a
    signing secret, what people do comes by HTTP; with an app token, by Socket Mode."""

    client_id: str | None = variable(
        "GITPLOY_SLACK_CLIENT_ID", "The Slack app's client ID, to install it by OAuth"
    )
    client_secret: types.SlackSecret | None = variable(
        "GITPLOY_SLACK_CLIENT_SECRET", "The Slack app's client secret", secret=True
    )
    bot_token: types.BotToken | None = variable(
        "GITPLOY_SLACK_BOT_TOKEN",
        "Slack's bot token, `xoxb-…`, of one workspace, in place of OAuth",
        secret=True,
    )
    signing_secret: types.SlackSecret | None = variable(
        "GITPLOY_SLACK_SIGNING_SECRET",
        "The Slack app's signing secret; with it, Slack shows buttons and /deploy",
        secret=True,
    )
    base_url: types.SlackUrl = variable(
        "GITPLOY_SLACK_BASE_URL", "Slack's API", default="https://slack.com/api/"
    )

    @property
    def used(self) -> bool:
        return bool(self.client_id or self.bot_token)

    @property
    def actions_enabled(self) -> bool:
        """Whether people can request actions in Slack."""
        return bool(self.signing_secret or self.app_token)


class Retention(Variables):
    """How long the store keeps what is over; None: forever."""

    title = "What is kept"
    deliveries: types.KeptRequests = variable(
        "GITPLOY_KEEP_DELIVERIES",
        "How long deliveries that were processed are kept, `8d` or more, or `forever`",
        default="30d",
    )
    output: types.KeptOutput = variable(
        "GITPLOY_KEEP_OUTPUT",
        "How long a run's output is kept after its end, `1d` or more, or `forever`",
        default="90d",
    )
    deployments: types.KeptRequests = variable(
        "GITPLOY_KEEP_DEPLOYMENTS",
        "How long deployments are kept after their end, with their timelines, messages and actions,"
        " `8d` or more, or `forever`; of each environment the newest and the last successes stay",
        default="365d",
    )


class Settings(GitHubAddress):
    webhook_secrets: types.WebhookSecrets | None = variable(
        "GITPLOY_WEBHOOK_SECRET",
        "The App's webhook secret, the same as in the GitHub App's settings, 16 characters or more"
        " without comma and white space; several, comma-separated, while it is rotated. Needed,"
        " unless deliveries are pulled",
        secret=True,
        heroku={"generator": "secret"},
    )
    deliveries: Literal["webhook", "pull"] = variable(
        "GITPLOY_DELIVERIES",
        "`webhook`: GitHub sends deliveries to the relay; `pull`: the relay fetches them every few"
        " seconds, where GitHub cannot reach it",
        default="webhook",
    )
    app_id: types.AppId | None = variable(
        "GITPLOY_GITHUB_APP_ID",
        "The App's ID; it or the client ID is needed",
        heroku={"required": True},
    )
    client_id: str | None = variable(
        "GITPLOY_GITHUB_CLIENT_ID", "The App's client ID; used before the App's ID"
    )
    client_secret: types.ClientSecret | None = variable(
        "GITPLOY_GITHUB_CLIENT_SECRET",
        "A client secret of the App, with which people sign in with GitHub; without it there are no"
        " pages but those behind a deployment's link",
        secret=True,
    )
    private_key: types.PrivateKey | None = variable(
        "GITPLOY_GITHUB_PRIVATE_KEY",
        "The App's private key: the PEM file's text, with `\\n` for line ends or in base64 if need"
        " be; it or its path is needed",
        secret=types.private_key_forms,
        pem=True,
        heroku={"required": True},
    )
    private_key_file: types.PrivateKeyFile | None = variable(
        "GITPLOY_GITHUB_PRIVATE_KEY_PATH",
        "A file with the App's private key, in place of the key; not for Heroku",
        secret=types.private_key_forms,
    )
    slack: SlackSettings
    admin_users: types.Logins | None = variable(
        "GITPLOY_ADMIN_USERS",
        "GitHub logins, comma-separated, of those who run the relay: on its pages they see all"
        " repositories and deliveries, and they may stop all deployments, as those may who may"
        " write to a repository that was deployed to lately",
    )
    own_store: types.StoreUrl | None = variable(
        "GITPLOY_STORE_SOURCE",
        "URL of a PostgreSQL, 15 or newer: `postgresql://USER:PASSWORD@HOST/DATABASE`; without it"
        " `DATABASE_URL`, else the embedded PostgreSQL in `GITPLOY_DATA_DIR`",
        secret=types.store_url_forms,
    )
    platform_store: types.StoreUrl | None = variable(
        "DATABASE_URL",
        "The same, as platforms set it",
        secret=types.store_url_forms,
        heroku=None,
    )
    secret_keys: types.SecretKeys | None = variable(
        "GITPLOY_SECRET_KEY",
        "Signs the links to pages and the tokens for reports, encrypts Slack's tokens, 16"
        " characters or more; several, comma-separated, newest first; generated once and stored in"
        " `GITPLOY_DATA_DIR` where it is not set",
        secret=True,
        heroku={"generator": "secret"},
    )
    keep: Retention
    config_path: Path = variable("GITPLOY_CONFIG", "Path of `deploy.yml`", default=_CONFIG)
    data_dir: types.AbsolutePath = variable(
        "GITPLOY_DATA_DIR",
        "Directory for what the relay stores on this machine: runs, its PostgreSQL",
        default="./data",
        heroku={"value": "/tmp/gitploy-relay"},  # noqa: S108 - the one that may be written to there
    )
    port: types.Port = variable(
        "PORT",
        "Port that the relay listens on, on all IPv4 addresses",
        default="8080",
        heroku=None,
    )
    web_processes: types.Processes = variable(
        "WEB_CONCURRENCY", "Processes that serve requests, 1 to 99", default="2"
    )
    _warnings: tuple[str, ...] = PrivateAttr(())

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Self:
        settings = super().from_environ(environ)
        settings._warnings = tuple(_misspelled(environ))
        return settings

    @model_validator(mode="before")
    @classmethod
    def _one_store(cls, given: dict[str, Any]) -> dict[str, Any]:
        """A platform's database may be of any kind if the relay does not use it."""
        unused = {"DATABASE_URL"} if given.get("GITPLOY_STORE_SOURCE") else set()
        return {name: value for name, value in given.items() if name not in unused}

    @classmethod
    def conflicts(cls, texts: Mapping[str, str]) -> Iterator[str]:
        if "GITPLOY_WEBHOOK_SECRET" not in texts and texts.get("GITPLOY_DELIVERIES") != "pull":
            about = next(one for one in VARIABLES if one.name == "GITPLOY_WEBHOOK_SECRET")
            yield f"{about.name} is not set; set it: {about.description}"
        if not texts.keys() & {"GITPLOY_GITHUB_APP_ID", "GITPLOY_GITHUB_CLIENT_ID"}:
            yield "GITPLOY_GITHUB_CLIENT_ID is not set; set it or GITPLOY_GITHUB_APP_ID"
        if "GITPLOY_GITHUB_CLIENT_SECRET" in texts and "GITPLOY_GITHUB_CLIENT_ID" not in texts:
            yield "GITPLOY_GITHUB_CLIENT_ID is not set; set it beside GITPLOY_GITHUB_CLIENT_SECRET"
        slack_id, slack_secret = "GITPLOY_SLACK_CLIENT_ID", "GITPLOY_SLACK_CLIENT_SECRET"
        for name, other in ((slack_id, slack_secret), (slack_secret, slack_id)):
            if name not in texts and other in texts:
                yield f"{name} is not set; set it beside {other}, or remove both"
        key, path = "GITPLOY_GITHUB_PRIVATE_KEY", "GITPLOY_GITHUB_PRIVATE_KEY_PATH"
        if not texts.keys() & {key, path}:
            yield f"{key} is not set; set it or {path}"
        if texts.keys() >= {key, path}:
            yield f"{key} and {path} are both set; remove one"

    @property
    def warnings(self) -> tuple[str, ...]:
        return self._warnings

    @property
    def admins(self) -> frozenset[str]:
        """In lower case, as logins are compared."""
        return frozenset(login.lower() for login in self.admin_users or ())

    @property
    def sign_in(self) -> bool:
        """Whether people can sign in with GitHub."""
        return bool(self.client_id and self.client_secret)

    @property
    def github_issuer(self) -> str:
        """The `iss` of the App's JWT."""
        return self.client_id or self.app_id or ""

    @property
    def github_private_key(self) -> str:
        return self.private_key or self.private_key_file or ""

    @property
    def store_source(self) -> str | None:
        """None: the embedded store."""
        return self.own_store or self.platform_store


def config_path(environ: Mapping[str, str]) -> Path:
    """The path of deploy.yml, even if other variables are wrong."""
    return Path(environ.get("GITPLOY_CONFIG", "").strip() or _CONFIG)


def _given(model: type[Variables], texts: Mapping[str, str]) -> dict[str, Any]:
    source = EnvSettingsSource(model)
    source.env_vars = texts
    parts = {
        name: _given(part, texts) for name, part in _fields(model) if not isinstance(part, Variable)
    }
    return source() | parts


def _fields(model: type[Variables]) -> Iterator[tuple[str, Variable | type[Variables]]]:
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Variables):
            yield name, field.annotation
        else:
            yield name, cast("dict[str, Variable]", field.json_schema_extra)["variable"]


def _variables(model: type[Variables]) -> Iterator[Variable]:
    for _, about in _fields(model):
        if isinstance(about, Variable):
            yield about
        else:
            yield from _variables(about)


VARIABLES = tuple(_variables(Settings))


def _messages(model: type[Variables], error: ValidationError) -> Iterator[str]:
    known = {about.name: about for about in _variables(model)}
    for one in error.errors(include_url=False, include_input=False):
        about = known[next(str(part) for part in one["loc"] if part in known)]
        if one["type"] == "missing":
            yield f"{about.name} is not set; set it: {about.description}"
        elif one["type"] == "value_error":
            yield f"{about.name} {one['ctx']['error']}"
        else:
            yield f"{about.name} cannot be read: {one['msg']}; correct it"


def _secrets(settings: Variables) -> Iterator[str]:
    for name, about in _fields(type(settings)):
        value = getattr(settings, name)
        if not isinstance(about, Variable):
            yield from _secrets(value)
        elif about.forms and value:
            for text in (value,) if isinstance(value, str) else value:
                yield from about.forms(text)


# Variables of Gitploy that this relay does not read; they are not misspelled.
_GITPLOY_ONLY = {
    "GITPLOY_DEBUG_MODE",
    "GITPLOY_SERVER_PROXY_HOST",
    "GITPLOY_SERVER_PROXY_PROTO",
    "GITPLOY_ORGANIZATION_ENTRIES",
    "GITPLOY_MEMBER_ENTRIES",
    "GITPLOY_ADMIN_USERS",
    "GITPLOY_LICENSE",
    "GITPLOY_TLS_CERT",
    "GITPLOY_TLS_KEY",
    "GITPLOY_STORE_DRIVER",
    "GITPLOY_GITHUB_CLIENT_SECRET",
    "GITPLOY_GITHUB_SCOPES",
    "GITPLOY_SLACK_USER_SCOPES",
    "GITPLOY_PROMETHEUS_ENABLED",
    "GITPLOY_PROMETHEUS_AUTH_SECRET",
    "GITPLOY_SERVER",
    "GITPLOY_TOKEN",
}


def _misspelled(environ: Mapping[str, str]) -> Iterator[str]:
    names = [variable.name for variable in VARIABLES]
    for name in sorted(environ):
        if name.startswith("GITPLOY_") and name not in names and name not in _GITPLOY_ONLY:
            for close in get_close_matches(name, names, n=1, cutoff=0.85):
                yield f"{name} is not read; did you mean {close}?"
