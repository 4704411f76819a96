"""All wiring of the web process."""

import os

from flask import Flask

from webhook import start
from webhook.inbound import github, people, probes, slack, slack_install, tools
from webhook.links import Links
from webhook.start import Setup
from webhook.store import jobs
from webhook.store.database import Sync, sync_pool
from webhook.timing import DEFAULT_TIMING, Clock, Timing, utc_now
from webhook.vault import Vault
from webhook.work.answer_intake import AnswerIntake
from webhook.work.intake import Intake

# Connections for pages, tools and probes; the intake has one of its own.
POOL_SIZE = 3
ANSWERS_POOL_SIZE = 2


def create_app(
    setup: Setup, store_url: str, timing: Timing = DEFAULT_TIMING, clock: Clock = utc_now
) -> Flask:
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = github.LARGEST_BODY + 1
    pool = sync_pool(store_url, POOL_SIZE, timing.connection_within)
    # Of their own, because Slack waits for three seconds only.
    answers = sync_pool(store_url, ANSWERS_POOL_SIZE, timing.connection_within)
    secrets = setup.settings.webhook_secrets
    links = Links(setup.settings.server_url, setup.secret_keys, clock)
    app.register_blueprint(github.blueprint(Intake(store_url), secrets, timing))
    app.register_blueprint(probes.blueprint(pool))
    app.register_blueprint(
        tools.blueprint(pool, setup.settings.server_url, setup.secret_keys, setup.secrets, clock)
    )
    app.register_blueprint(people.blueprint(pool, links, clock=clock))
    app.register_blueprint(
        slack_install.blueprint(
            pool, setup.settings, setup.config, Vault(setup.secret_keys), _told_again
        )
    )
    app.register_blueprint(
        slack.blueprint(
            setup.settings.slack, AnswerIntake(answers, setup.config, timing, clock), clock
        )
    )
    return app


def _told_again(connection: Sync, _team: str) -> None:
    """What a workspace was not told is told now that it is there again."""
    jobs.hurry(connection, "tell_slack")


def from_environ() -> Flask:
    """What each process of the web server loads; `python -m webhook web` has set the store."""
    setup = start.set_up(os.environ)
    assert setup.settings.store_source
    return create_app(setup, setup.settings.store_source)
