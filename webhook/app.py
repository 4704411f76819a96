"""All wiring of the web process."""

import os

from flask import Flask

from webhook import startup
from webhook.github import webhook
from webhook.jobs.inbox import Intake
from webhook.security.cipher import Cipher
from webhook.security.links import Links
from webhook.slack.actions import http
from webhook.slack.actions.intake import AnswerIntake
from webhook.slack.install import views as slack_install
from webhook.startup import Setup
from webhook.status_api import views as tools
from webhook.store import jobs
from webhook.store.database import Sync, sync_pool
from webhook.timing import DEFAULT_TIMING, Clock, Timing, utc_now
from webhook.web import probes
from webhook.web.pages import views

# Connections for pages, tools and probes; the intake has one of its own.
POOL_SIZE = 3
ANSWERS_POOL_SIZE = 2


def create_app(
    setup: Setup, store_url: str, timing: Timing = DEFAULT_TIMING, clock: Clock = utc_now
) -> Flask:
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = webhook.LARGEST_BODY + 1
    pool = sync_pool(store_url, POOL_SIZE, timing)
    # Of their own, because Slack waits for three seconds only.
    answers = sync_pool(store_url, ANSWERS_POOL_SIZE, timing)
    secrets = setup.settings.webhook_secrets
    links = Links(setup.settings.server_url, setup.secret_keys, clock)
    app.register_blueprint(webhook.blueprint(Intake(store_url), secrets, timing))
    app.register_blueprint(probes.blueprint(pool))
    app.register_blueprint(
        tools.blueprint(pool, setup.settings.server_url, setup.secret_keys, setup.secrets, clock)
    )
    app.register_blueprint(views.blueprint(pool, links, clock=clock))
    app.register_blueprint(
        slack_install.blueprint(
            pool, setup.settings, setup.config, Cipher(setup.secret_keys), _told_again
        )
    )
    app.register_blueprint(
        http.blueprint(
            setup.settings.slack, AnswerIntake(answers, setup.config, timing, clock), clock
        )
    )
    return app


def _told_again(connection: Sync, _team: str) -> None:
    """What a workspace was not told is told now that it is there again."""
    jobs.retry_now(connection, "notify")


def from_environ() -> Flask:
    """What each process of the web server loads; `python -m webhook web` has set the store."""
    setup = startup.set_up(os.environ)
    assert setup.settings.store_source
    return create_app(setup, setup.settings.store_source)
