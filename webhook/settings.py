"""The relay's settings, from environment variables.

Errors: `ConfigErrors`, with every variable that is wrong, what is wrong with it and the remedy.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from webhook import setting_values as values
from webhook.errors import ConfigErrors


@dataclass(frozen=True, slots=True)
class Variable:
    """`default` None: unset. Where one of two is needed, neither is `required` by itself."""

    name: str
    description: str
    default: str | None = None
    required: bool = False
    secret: bool = False


VARIABLES = (
    Variable("GITPLOY_SERVER_HOST", "Host, or host:port, of the relay's own pages", required=True),
    Variable("GITPLOY_SERVER_PROTO", "http or https, of the relay's own pages", "https"),
    Variable(
        "GITPLOY_WEBHOOK_SECRET",
        "The App's webhook secret; several, comma-separated, while it is changed",
        required=True,
        secret=True,
    ),
    Variable(
        "GITPLOY_GITHUB_BASE_URL",
        "GitHub's API; https://HOST/api/v3 of a GitHub Enterprise Server",
        "https://api.github.com",
    ),
    Variable("GITPLOY_GITHUB_APP_ID", "The App's ID; it or the client ID is needed"),
    Variable("GITPLOY_GITHUB_CLIENT_ID", "The App's client ID; used before the App's ID"),
    Variable(
        "GITPLOY_GITHUB_PRIVATE_KEY",
        "The App's private key: PEM, with \\n for line ends or in base64 if need be",
        secret=True,
    ),
    Variable(
        "GITPLOY_GITHUB_PRIVATE_KEY_PATH", "A file with the App's private key, in place of the key"
    ),
    Variable("GITPLOY_SLACK_CLIENT_ID", "The Slack app's client ID, to install it by OAuth"),
    Variable("GITPLOY_SLACK_CLIENT_SECRET", "The Slack app's client secret", secret=True),
    Variable(
        "GITPLOY_SLACK_BOT_SCOPES",
        "Scopes that the Slack app asks for when it is installed, comma-separated",
        "chat:write",
    ),
    Variable(
        "GITPLOY_SLACK_BOT_TOKEN",
        "Slack's bot token, xoxb-…, of one workspace, in place of OAuth",
        secret=True,
    ),
    Variable(
        "GITPLOY_SLACK_SIGNING_SECRET",
        "The Slack app's signing secret; with it, people can answer in Slack",
        secret=True,
    ),
    Variable(
        "GITPLOY_SLACK_APP_TOKEN",
        "The Slack app's token, xapp-…, for Socket Mode, where Slack cannot reach the relay",
        secret=True,
    ),
    Variable("GITPLOY_SLACK_BASE_URL", "Slack's API", "https://slack.com/api/"),
    Variable(
        "GITPLOY_STORE_SOURCE",
        "PostgreSQL's URL; else DATABASE_URL; else a PostgreSQL of the relay's own",
        secret=True,
    ),
    Variable("DATABASE_URL", "PostgreSQL's URL, as platforms set it", secret=True),
    Variable(
        "GITPLOY_SECRET_KEY",
        "Signs links to pages and tokens for reports, 16 characters or more; several, "
        "comma-separated, newest first; made and kept in GITPLOY_DATA_DIR where it is not set",
        secret=True,
    ),
    Variable("GITPLOY_CONFIG", "Path of deploy.yml", "deploy.yml"),
    Variable("GITPLOY_DATA_DIR", "Directory of what the relay keeps on this machine", "./data"),
    Variable("PORT", "Port that the relay listens on", "8080"),
    Variable("WEB_CONCURRENCY", "Processes that answer requests", "2"),
)

# Gitploy's own, which this relay does not read; not to be taken for misspelt ones.
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


def _same(text: str) -> str:
    return text


_PARSERS: dict[str, Callable[[str], Any]] = {
    "GITPLOY_SERVER_HOST": values.host,
    "GITPLOY_SERVER_PROTO": values.proto,
    "GITPLOY_WEBHOOK_SECRET": values.webhook_secrets,
    "GITPLOY_GITHUB_BASE_URL": values.base_url,
    "GITPLOY_GITHUB_APP_ID": values.app_id,
    "GITPLOY_GITHUB_CLIENT_ID": _same,
    "GITPLOY_GITHUB_PRIVATE_KEY": values.private_key,
    "GITPLOY_GITHUB_PRIVATE_KEY_PATH": values.private_key_file,
    "GITPLOY_SLACK_CLIENT_ID": _same,
    "GITPLOY_SLACK_CLIENT_SECRET": _same,
    "GITPLOY_SLACK_BOT_SCOPES": values.slack_scopes,
    "GITPLOY_SLACK_BOT_TOKEN": values.bot_token,
    "GITPLOY_SLACK_SIGNING_SECRET": _same,
    "GITPLOY_SLACK_APP_TOKEN": values.app_token,
    "GITPLOY_SLACK_BASE_URL": values.slack_url,
    "GITPLOY_STORE_SOURCE": values.store_url,
    "DATABASE_URL": values.store_url,
    "GITPLOY_SECRET_KEY": values.secret_keys,
    "GITPLOY_CONFIG": _same,
    "GITPLOY_DATA_DIR": lambda text: Path(text).absolute(),
    "PORT": values.port,
    "WEB_CONCURRENCY": values.processes,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SlackSettings:
    """`base_url` ends in a slash. With a client ID, workspaces are installed by OAuth; with a
    signing secret, people's answers come by HTTP; with an app token, by Socket Mode."""

    client_id: str | None
    client_secret: str | None = field(repr=False)
    scopes: tuple[str, ...]
    bot_token: str | None = field(repr=False)
    signing_secret: str | None = field(repr=False)
    app_token: str | None = field(repr=False)
    base_url: str

    @property
    def used(self) -> bool:
        return bool(self.client_id or self.bot_token)

    @property
    def answers(self) -> bool:
        """Whether people can answer in Slack."""
        return bool(self.signing_secret or self.app_token)

    @property
    def secrets(self) -> set[str]:
        given = (self.client_secret, self.bot_token, self.signing_secret, self.app_token)
        return {secret for secret in given if secret}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """`github_issuer` is the `iss` of the App's JWT. `store_source` None: the embedded store.
    `secret_keys` None: the relay makes one in `data_dir`."""

    server_host: str
    server_proto: str
    webhook_secrets: tuple[str, ...] = field(repr=False)
    github_base_url: str
    github_issuer: str
    github_private_key: str = field(repr=False)
    slack: SlackSettings
    store_source: str | None = field(repr=False)
    secret_keys: tuple[str, ...] | None = field(repr=False)
    data_dir: Path
    port: int
    web_processes: int
    warnings: tuple[str, ...] = ()

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> "Settings":
        faults: list[str] = []
        read = _read(environ, faults)
        faults += _missing(environ)
        if faults:
            raise ConfigErrors(faults)
        return cls(
            server_host=read["GITPLOY_SERVER_HOST"],
            server_proto=read["GITPLOY_SERVER_PROTO"],
            webhook_secrets=read["GITPLOY_WEBHOOK_SECRET"],
            github_base_url=read["GITPLOY_GITHUB_BASE_URL"],
            github_issuer=read["GITPLOY_GITHUB_CLIENT_ID"] or read["GITPLOY_GITHUB_APP_ID"],
            github_private_key=read["GITPLOY_GITHUB_PRIVATE_KEY"]
            or read["GITPLOY_GITHUB_PRIVATE_KEY_PATH"],
            slack=SlackSettings(
                client_id=read["GITPLOY_SLACK_CLIENT_ID"],
                client_secret=read["GITPLOY_SLACK_CLIENT_SECRET"],
                scopes=read["GITPLOY_SLACK_BOT_SCOPES"],
                bot_token=read["GITPLOY_SLACK_BOT_TOKEN"],
                signing_secret=read["GITPLOY_SLACK_SIGNING_SECRET"],
                app_token=read["GITPLOY_SLACK_APP_TOKEN"],
                base_url=read["GITPLOY_SLACK_BASE_URL"],
            ),
            store_source=read["GITPLOY_STORE_SOURCE"] or read["DATABASE_URL"],
            secret_keys=read["GITPLOY_SECRET_KEY"],
            data_dir=read["GITPLOY_DATA_DIR"],
            port=read["PORT"],
            web_processes=read["WEB_CONCURRENCY"],
            warnings=tuple(_near_misses(environ)),
        )

    @property
    def server_url(self) -> str:
        return f"{self.server_proto}://{self.server_host}"

    @property
    def secrets(self) -> frozenset[str]:
        """All that must never be shown or stored."""
        found = {*self.webhook_secrets, *(self.secret_keys or ())}
        found.update(values.private_key_forms(self.github_private_key))
        found |= self.slack.secrets
        if self.store_source and (passwords := set(values.store_passwords(self.store_source))):
            found |= {self.store_source, *passwords}
        return frozenset(found)


def config_path(environ: Mapping[str, str]) -> Path:
    """Where deploy.yml is; known even where other variables are wrong."""
    default = next(v.default for v in VARIABLES if v.name == "GITPLOY_CONFIG")
    return Path(_text(environ, "GITPLOY_CONFIG") or default or "")


def _text(environ: Mapping[str, str], name: str) -> str:
    """Platforms set what was left out of a form to nothing."""
    return environ.get(name, "").strip()


def _read(environ: Mapping[str, str], faults: list[str]) -> dict[str, Any]:
    read: dict[str, Any] = {}
    for variable in VARIABLES:
        text = _text(environ, variable.name) or variable.default
        read[variable.name] = None
        # A platform's database may be of any kind when the relay does not use it.
        unused = variable.name == "DATABASE_URL" and _text(environ, "GITPLOY_STORE_SOURCE")
        if text is not None and not unused:
            try:
                read[variable.name] = _PARSERS[variable.name](text)
            except ValueError as error:
                faults.append(f"{variable.name} {error}")
    return read


def _missing(environ: Mapping[str, str]) -> Iterator[str]:
    for variable in VARIABLES:
        if variable.required and not _text(environ, variable.name):
            yield f"{variable.name} is not set; set it: {variable.description}"
    if not _text(environ, "GITPLOY_GITHUB_APP_ID") and not _text(
        environ, "GITPLOY_GITHUB_CLIENT_ID"
    ):
        yield "GITPLOY_GITHUB_CLIENT_ID is not set; set it or GITPLOY_GITHUB_APP_ID"
    slack_id, slack_secret = "GITPLOY_SLACK_CLIENT_ID", "GITPLOY_SLACK_CLIENT_SECRET"
    for name, other in ((slack_id, slack_secret), (slack_secret, slack_id)):
        if not _text(environ, name) and _text(environ, other):
            yield f"{name} is not set; set it beside {other}, or remove both"
    key, path = "GITPLOY_GITHUB_PRIVATE_KEY", "GITPLOY_GITHUB_PRIVATE_KEY_PATH"
    if not _text(environ, key) and not _text(environ, path):
        yield f"{key} is not set; set it or {path}"
    if _text(environ, key) and _text(environ, path):
        yield f"{key} and {path} are both set; remove one"


def _near_misses(environ: Mapping[str, str]) -> Iterator[str]:
    names = [variable.name for variable in VARIABLES]
    for name in sorted(environ):
        if name.startswith("GITPLOY_") and name not in names and name not in _GITPLOY_ONLY:
            for close in get_close_matches(name, names, n=1, cutoff=0.85):
                yield f"{name} is not read; did you mean {close}?"
