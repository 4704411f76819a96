"""The settings: every error at once, with the variable's name and the remedy."""

import base64
import os
import re
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from webhook.__main__ import main
from webhook.errors import ConfigErrors
from webhook.settings import VARIABLES, Settings, Variables, config_path, variable
from webhook.startup import read, read_config


@cache
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@cache
def pem() -> str:
    key = rsa_key().private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    return key.decode()


def encrypted_pem() -> str:
    encryption = BestAvailableEncryption(b"passphrase")
    return rsa_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption).decode()


def public_pem() -> str:
    public = rsa_key().public_key()
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def elliptic_pem() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def settings(**variables: str) -> Settings:
    return Settings.from_environ(environ(**variables))


def environ(**variables: str) -> Mapping[str, str]:
    return {
        "GITPLOY_SERVER_HOST": "relay.example.com",
        "GITPLOY_WEBHOOK_SECRET": "0123456789-whsec-one",
        "GITPLOY_GITHUB_APP_ID": "12345",
        "GITPLOY_GITHUB_PRIVATE_KEY": pem(),
    } | variables


def errors(**variables: str) -> tuple[str, ...]:
    with pytest.raises(ConfigErrors) as caught:
        settings(**variables)
    return caught.value.errors


def test_the_required_variables_alone_give_the_documented_defaults() -> None:
    least = settings()
    assert least.server_url == "https://relay.example.com"
    assert least.github_base_url == "https://api.github.com"
    assert least.github_issuer == "12345"
    assert least.slack.bot_token is None
    assert least.slack.base_url == "https://slack.com/api/"
    assert least.store_source is None
    assert least.secret_keys is None
    assert config_path({}) == Path("deploy.yml")
    assert least.data_dir == Path.cwd() / "data"
    assert least.port == 8080
    assert least.warnings == ()


def test_an_empty_environment_names_all_required_variables_at_once() -> None:
    with pytest.raises(ConfigErrors) as caught:
        Settings.from_environ({})
    assert [error.split()[0] for error in caught.value.errors] == [
        "GITPLOY_SERVER_HOST",
        "GITPLOY_WEBHOOK_SECRET",
        "GITPLOY_GITHUB_CLIENT_ID",
        "GITPLOY_GITHUB_PRIVATE_KEY",
    ]
    assert str(caught.value).count("\n") == 3


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("GITPLOY_SERVER_HOST", "https://relay.example.com", "must not begin with 'https://'"),
        ("GITPLOY_SERVER_HOST", "relay.example.com/", "is not host or host:port"),
        ("GITPLOY_SERVER_HOST", "relay.example.com:70000", "is not host or host:port"),
        ("GITPLOY_SERVER_HOST", "example.com/relay", "needs a host of its own, not a path"),
        ("GITPLOY_SERVER_HOST", "bücher.example", "write its ASCII form"),
        ("GITPLOY_SERVER_HOST", " ", "is not set"),
        ("GITPLOY_SERVER_PROTO", "ftp", "'ftp' is not http or https"),
        ("GITPLOY_WEBHOOK_SECRET", "", "is not set"),
        ("GITPLOY_WEBHOOK_SECRET", "a,,b", "has an empty item"),
        ("GITPLOY_WEBHOOK_SECRET", "a, ", "has an empty item"),
        ("GITPLOY_WEBHOOK_SECRET", "Zk7%,q9Lr2-long-enough-2", "a comma separates several"),
        ("GITPLOY_WEBHOOK_SECRET", "x", "has a secret of less than 16 characters; make one"),
        ("GITPLOY_WEBHOOK_SECRET", "two words, of a secret", "has white space inside"),
        ("GITPLOY_WEBHOOK_SECRET", '"0123456789abcdef"', "is in quotes"),
        ("GITPLOY_WEBHOOK_SECRET", "0123456789abcdef,'0123456789abcdef'", "is in quotes"),
        ("GITPLOY_WEBHOOK_SECRET", "0123456789\u200babcdef", "an invisible character"),
        ("GITPLOY_WEBHOOK_SECRET", "${WEBHOOK_SECRET}", "was not filled in"),
        ("GITPLOY_WEBHOOK_SECRET", "$(cat /run/secrets/webhook)", "was not filled in"),
        ("GITPLOY_SLACK_SIGNING_SECRET", "8f742231b10e", "has less than 16 characters"),
        ("GITPLOY_SLACK_SIGNING_SECRET", "8f742231b10e 8888abcd99", "has white space inside"),
        ("GITPLOY_SLACK_BOT_TOKEN", "xoxb-1 2", "has white space inside"),
        ("GITPLOY_SLACK_APP_TOKEN", "'xapp-1'", "is in quotes"),
        ("GITPLOY_CONFIG", '"deploy.yml"', "is in quotes"),
        ("GITPLOY_DATA_DIR", "${HOME}/data", "was not filled in"),
        ("GITPLOY_DATA_DIR", "/data\n/other", "has a line break"),
        ("DATABASE_URL", "postgresql://u:50%zz@h/d", "write a % in user or password as %25"),
        ("GITPLOY_GITHUB_BASE_URL", "api.github.com", "is not a URL"),
        ("GITPLOY_GITHUB_BASE_URL", "https://github.com", "write https://api.github.com"),
        ("GITPLOY_GITHUB_BASE_URL", "https://ghe:pass@h/api/v3", "must not hold user"),
        ("GITPLOY_GITHUB_BASE_URL", "https://[::1/api", "is not a URL"),
        ("GITPLOY_GITHUB_BASE_URL", "https://h:port/api", "is not a URL"),
        ("GITPLOY_GITHUB_BASE_URL", "https://h/a b", "holds whitespace"),
        ("GITPLOY_GITHUB_APP_ID", "Iv1.abc", "'Iv1.abc' is not a number"),
        ("GITPLOY_SLACK_BOT_TOKEN", "xoxp-1", "does not begin with xoxb-"),
        ("GITPLOY_SLACK_BASE_URL", "slack.com", "is not a URL"),
        ("GITPLOY_ADMIN_USERS", "octocat, @hubot", "'@hubot' is not a GitHub login; write it with"),
        ("GITPLOY_STORE_SOURCE", "mysql://h/d", "is not a PostgreSQL URL"),
        ("DATABASE_URL", "file:/data/sqlite3.db", "is not a PostgreSQL URL"),
        ("GITPLOY_SECRET_KEY", "short", "has a key of less than 16 characters"),
        ("GITPLOY_SECRET_KEY", "0123456789abcdef,short", "has a key of less than 16 characters"),
        ("PORT", "65536", "'65536' is not a port"),
        ("PORT", "-1", "'-1' is not a port"),
        ("PORT", "http", "'http' is not a port"),
        ("WEB_CONCURRENCY", "0", "'0' is not a number of processes"),
        ("GITPLOY_KEEP_OUTPUT", "2 weeks", "'2 weeks' is not a number of days; write 90d"),
        ("GITPLOY_KEEP_OUTPUT", "0d", "is too short"),
        ("GITPLOY_KEEP_DELIVERIES", "7d", "write 8d or more, or forever"),
        ("GITPLOY_KEEP_DEPLOYMENTS", "7d", "write 8d or more, or forever"),
    ],
)
def test_a_wrong_value_is_named_with_its_remedy(name: str, value: str, message: str) -> None:
    (error,) = errors(**{name: value})
    assert error.startswith(name + " ")
    assert message in error
    assert ";" in error


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: "hello", "is neither a PEM nor a PEM in base64"),
        (lambda: base64.b64encode(b"hello").decode(), "is not a private key that can be loaded"),
        (lambda: "-----BEGIN RSA PRIVATE KEY-----", "is not a private key that can be loaded"),
        (public_pem, "is a public key"),
        (lambda: base64.b64encode(public_pem().encode()).decode(), "is a public key"),
        (encrypted_pem, "is encrypted"),
        (elliptic_pem, "is not an RSA key"),
    ],
)
def test_an_error_about_a_private_key_does_not_show_it(
    make: Callable[[], str], message: str
) -> None:
    (error,) = errors(GITPLOY_GITHUB_PRIVATE_KEY=make())
    assert message in error
    assert "hello" not in error
    assert "MII" not in error


def test_a_key_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    missing, binary = tmp_path / "missing.pem", tmp_path / "key.der"
    binary.write_bytes(b"\x30\x82\xff")
    variables = {"GITPLOY_GITHUB_PRIVATE_KEY": ""}
    (error,) = errors(**variables, GITPLOY_GITHUB_PRIVATE_KEY_PATH=str(missing))
    assert f"'{missing}' cannot be read: No such file" in error
    (error,) = errors(**variables, GITPLOY_GITHUB_PRIVATE_KEY_PATH=str(binary))
    assert "is not a PEM file" in error


def test_a_key_and_a_key_file_together_are_an_error(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.write_text(pem())
    (error,) = errors(GITPLOY_GITHUB_PRIVATE_KEY_PATH=str(path))
    assert "are both set" in error


def test_the_private_key_comes_in_four_ways_and_is_the_same(tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.write_text(pem())
    from_file = {"GITPLOY_GITHUB_PRIVATE_KEY": "", "GITPLOY_GITHUB_PRIVATE_KEY_PATH": str(path)}
    in_base64 = base64.b64encode(pem().encode()).decode()
    assert settings().github_private_key == pem()
    assert settings(**from_file).github_private_key == pem()
    for form in (pem().replace("\n", "\\n"), in_base64, pem().replace("\n", "\r\n")):
        assert settings(GITPLOY_GITHUB_PRIVATE_KEY=form).github_private_key == pem()


def test_a_private_key_in_quotes_is_taken_and_a_path_is_sent_where_it_belongs(
    tmp_path: Path,
) -> None:
    for quoted in (f'"{pem()}"', f"'{pem()}'", '"' + pem().replace("\n", "\\n") + '"'):
        assert settings(GITPLOY_GITHUB_PRIVATE_KEY=quoted).github_private_key == pem()
    (tmp_path / "app").touch()
    for path in ("/run/secrets/app.pem", "./app", "app.pem", str(tmp_path / "app")):
        (error,) = errors(GITPLOY_GITHUB_PRIVATE_KEY=path)
        assert error.endswith(
            "is the path of a file; set GITPLOY_GITHUB_PRIVATE_KEY_PATH to it instead"
        )


def test_the_client_id_is_used_before_the_app_id() -> None:
    assert settings(GITPLOY_GITHUB_CLIENT_ID="Iv23li").github_issuer == "Iv23li"
    both_missing = errors(GITPLOY_GITHUB_APP_ID="")
    assert both_missing == ("GITPLOY_GITHUB_CLIENT_ID is not set; set it or GITPLOY_GITHUB_APP_ID",)


@pytest.mark.parametrize(
    ("proto", "host", "origin"),
    [
        ("https", "Relay.Example.COM:443", "https://relay.example.com"),
        ("https", "relay.example.com:8443", "https://relay.example.com:8443"),
        ("http", "Relay.example.com:80", "http://relay.example.com"),
        ("http", "relay.example.com:443", "http://relay.example.com:443"),
        ("https", "[2001:DB8::1]:443", "https://[2001:db8::1]"),
        ("https", "xn--bcher-kva.example", "https://xn--bcher-kva.example"),
    ],
)
def test_the_relays_address_is_written_as_browsers_send_it(
    proto: str, host: str, origin: str
) -> None:
    """The relay compares it with the origin of forms."""
    relay = settings(GITPLOY_SERVER_PROTO=proto, GITPLOY_SERVER_HOST=host)
    assert relay.server_url == origin


def test_values_are_stripped_and_split() -> None:
    several = settings(
        GITPLOY_SERVER_HOST=" localhost:8080 ",
        GITPLOY_SERVER_PROTO="http",
        GITPLOY_WEBHOOK_SECRET="the-new-secret-16, the-old-secret-16",
        GITPLOY_SECRET_KEY="0123456789abcdef, fedcba9876543210",
        GITPLOY_GITHUB_BASE_URL="https://ghe.acme.io/api/v3/",
        GITPLOY_SLACK_BASE_URL="http://127.0.0.1:9/api",
        PORT="0",
    )
    assert several.server_url == "http://localhost:8080"
    assert several.webhook_secrets == (
        "the-new-secret-16",
        "the-old-secret-16",
    )
    assert several.secret_keys == ("0123456789abcdef", "fedcba9876543210")
    assert several.github_base_url == "https://ghe.acme.io/api/v3"
    assert several.slack.base_url == "http://127.0.0.1:9/api/"
    assert several.port == 0


def test_the_store_falls_back_to_the_platforms_database() -> None:
    heroku = settings(DATABASE_URL="postgres://u:p@h/d")
    assert heroku.store_source == "postgresql://u:p@h/d"
    own = settings(DATABASE_URL="mysql://h/d", GITPLOY_STORE_SOURCE="postgresql://h/own")
    assert own.store_source == "postgresql://h/own"


def test_secrets_are_known_and_do_not_show_in_repr() -> None:
    full = settings(
        GITPLOY_WEBHOOK_SECRET="hook-secret-one-,hook-secret-two-",
        GITPLOY_SLACK_BOT_TOKEN="xoxb-token",
        GITPLOY_SECRET_KEY="0123456789abcdef",
        GITPLOY_STORE_SOURCE="postgresql://user:p%40ssword@db/relay",
    )
    url = "postgresql://user:p%40ssword@db/relay"
    named = {"hook-secret-one-", "hook-secret-two-", "xoxb-token", "0123456789abcdef", url}
    assert named | {"p%40ssword", "p@ssword", pem()} <= full.secrets
    assert pem().replace("\n", "\\n") in full.secrets
    assert set(pem().splitlines()[1:-2]) <= full.secrets
    assert not {pem().splitlines()[0], pem().splitlines()[-1]} & full.secrets
    assert not [secret for secret in full.secrets if secret in repr(full)]


def test_a_store_without_a_password_is_no_secret() -> None:
    url = "postgresql://db/relay"
    assert url not in settings(GITPLOY_STORE_SOURCE=url).secrets
    in_query = "postgresql://db/relay?password=hunter2hunter2"
    assert {in_query, "hunter2hunter2"} <= settings(GITPLOY_STORE_SOURCE=in_query).secrets


def test_a_misspelled_variable_produces_a_warning_and_gitploys_own_do_not() -> None:
    warned = settings(
        GITPLOY_SLACK_BOT_TOKENS="x", GITPLOY_STORE_DRIVER="postgres", GITPLOY_ADMIN_USERS="octocat"
    )
    assert warned.warnings == (
        "GITPLOY_SLACK_BOT_TOKENS is not read; did you mean GITPLOY_SLACK_BOT_TOKEN?",
    )


def test_all_errors_come_at_once() -> None:
    message = errors(PORT="x", GITPLOY_SERVER_PROTO="x", GITPLOY_SLACK_BOT_TOKEN="x")
    assert {error.split()[0] for error in message} == {
        "PORT",
        "GITPLOY_SERVER_PROTO",
        "GITPLOY_SLACK_BOT_TOKEN",
    }


def test_every_variable_is_described_once() -> None:
    names = [variable.name for variable in VARIABLES]
    assert len(names) == len(set(names))
    assert all(variable.description for variable in VARIABLES)
    assert not [v.name for v in VARIABLES if v.required and v.default is not None]


def test_a_new_setting_is_one_field() -> None:
    class Small(Variables):
        token: str = variable("NEW_TOKEN", "A `token`", required=True, secret=True)
        count: int = variable("NEW_COUNT", "How many", default="3")

    small = Small.from_environ({"NEW_TOKEN": " a-token "})
    assert small.count == 3
    assert small.token == "a-token"
    assert small.secrets == {"a-token"}
    assert "a-token" not in repr(small)
    with pytest.raises(ConfigErrors, match=r"^NEW_TOKEN is not set; set it: A token$"):
        Small.from_environ({})
    with pytest.raises(
        ConfigErrors, match=r"^NEW_COUNT cannot be read: Input should be a valid integer"
    ):
        Small.from_environ({"NEW_TOKEN": "a-token", "NEW_COUNT": "few"})


def test_no_error_quotes_a_secret() -> None:
    # A path is no secret, but the content of its file is.
    secrets = [v.name for v in VARIABLES if v.secret and not v.name.endswith("_PATH")]
    found = errors(**dict.fromkeys(secrets, "hunter2,"))
    assert len(found) > 5
    assert not [error for error in found if "hunter2" in error]


# As people paste them where something else belongs.
PASTED: dict[str, Callable[[], str]] = {
    "a PEM": pem,
    "a PEM in base64": lambda: base64.b64encode(pem().encode()).decode(),
    "a PEM without line ends": lambda: pem().replace("\n", " "),
    "two lines": lambda: "recognisable-one-1\nrecognisable-two-2",
    "a token": lambda: "xoxb-1234567890-recognisable",
    "a digest": lambda: "5d41402abc4b2a76b9719d911017c592",
    "a random value": lambda: "Zk7-q9Lr2_recognisable",
    "an address": lambda: "https://user:recognisable@host/path",
    "a store": lambda: "postgresql://user:recog%nisable@host/db?recognisable",
}
COMMANDS = (["check"], ["up"], ["web"], ["worker"], ["migrate"], ["deliveries"])


@pytest.mark.parametrize("name", [variable.name for variable in VARIABLES])
def test_no_process_prints_what_was_pasted_into_the_wrong_variable(
    name: str, tmp_path: Path
) -> None:
    (tmp_path / "deploy.yml").write_text("envs: [{name: x, handler: command, with: {run: [a]}}]")
    for pasted in PASTED.values():
        # Another variable is wrong too, so that no process begins to work.
        wrong = {"PORT": "none", "WEB_CONCURRENCY": "none", name: pasted()}
        paths = {"GITPLOY_CONFIG": str(tmp_path / "deploy.yml"), "GITPLOY_DATA_DIR": str(tmp_path)}
        given = {**dict.fromkeys(os.environ), **environ(**paths | wrong)}
        for command in COMMANDS:
            result = CliRunner().invoke(main, command, env=given)
            assert isinstance(result.exception, SystemExit), result.exception
            assert result.exit_code == 1, result.output
            parts = [part for part in re.split(r"[\s@:?]+", pasted()) if len(part) > 11]
            assert not [part for part in parts if part in result.output], result.output


def test_what_the_shell_fills_into_a_command_is_not_printed() -> None:
    given = {**dict.fromkeys(os.environ), **environ(DEPLOY_TOKEN="recognisable-token")}
    for command in (["recognisable-token"], ["deliveries", "--limit", "recognisable-token"]):
        result = CliRunner().invoke(main, command, env=given)
        assert result.exit_code == 2
        assert "***" in result.output
        assert "recognisable" not in result.output


def test_a_missing_deploy_yml_is_explained(tmp_path: Path) -> None:
    path = tmp_path / "deploy.yml"
    with pytest.raises(ConfigErrors, match="cannot be read: No such file or directory; write it"):
        read_config({"GITPLOY_CONFIG": f" {path} "})
    path.write_text("envs: [{name: x, handler: command, with: {run: ['true']}}]")
    assert read_config({"GITPLOY_CONFIG": str(path)}).envs[0].name == "x"


def test_errors_of_settings_and_of_deploy_yml_come_together(tmp_path: Path) -> None:
    path = tmp_path / "deploy.yml"
    path.write_text("envs: 1")
    _, _, errors = read({"GITPLOY_CONFIG": str(path), "PORT": "http"})
    assert any(error.startswith("PORT") for error in errors)
    assert any("deploy.yml:1:7" in error for error in errors)
