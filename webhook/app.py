"""All wiring of the web process."""

import asyncio
import gc
import os
from asyncio import AbstractEventLoop
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from signal import SIGHUP, SIGINT, SIGTERM, raise_signal
from threading import Lock
from typing import Self

from webhook import http, startup
from webhook.check.run import findings
from webhook.config.environments import CurrentConfig
from webhook.deployments.automatic import ORIGINS
from webhook.deployments.simulation import Simulation
from webhook.engine.explain import worker_caveats
from webhook.engine.simulate import Subject, simulate
from webhook.github import webhook
from webhook.jobs.inbox import Inbox
from webhook.logs import Redactor, hidden
from webhook.reloading import LocalConfig, Reloading
from webhook.security.cipher import Cipher
from webhook.security.signing import Links
from webhook.slack.actions import ACTIONS, Actions
from webhook.slack.actions import http as slack_actions
from webhook.slack.actions.http import ActionIntake
from webhook.slack.install import views as slack_install
from webhook.startup import Setup
from webhook.status_api import views as status_api
from webhook.store import schedule
from webhook.store.database import Sync, SyncPool, sync_pool
from webhook.store.schedule import Task
from webhook.timing import DEFAULT_TIMING, Clock, Timing, utc_now
from webhook.web import acts, probes
from webhook.web.auth.access import PermissionCache
from webhook.web.auth.sessions import Sessions
from webhook.web.flask_app import RelayFlask
from webhook.web.gateway import Gateway
from webhook.web.github_calls import GitHubCalls
from webhook.web.live import Live
from webhook.web.pages import blueprint as pages
from webhook.web.services import PageServices

# Connections for pages, the status API and probes; the inbox has one of its own.
POOL_SIZE = 3
SLACK_POOL_SIZE = 2
# Seconds of a simulation, for which a person waits.
SIMULATED_WITHIN = 5.0
# Requests leave few cycles: Python's own threshold of 700 objects is reached by every tenth.
GC_THRESHOLD = 20_000
# In the app's extensions: ends what it has opened but its pools.
CLOSE = "relay.close"
# There, too: what keeps pages up to date.
LIVE = "relay.live"


@dataclass(frozen=True, slots=True)
class Current:
    """What follows deploy.yml while the app goes on."""

    config: CurrentConfig
    redactor: Redactor

    @classmethod
    def of(cls, setup: Setup) -> Self:
        return cls(CurrentConfig(setup.config), Redactor(setup.secrets))

    def use(self, setup: Setup) -> None:
        """What tools report may still hold secrets of the older file, too."""
        self.redactor.hide(setup.secrets)
        self.config.config = setup.config


def create_app(
    setup: Setup,
    store_url: str,
    timing: Timing = DEFAULT_TIMING,
    clock: Clock = utc_now,
    actions: Actions = ACTIONS,
    *,
    current: Current | None = None,
    local: LocalConfig | None = None,
) -> RelayFlask:
    current = current or Current.of(setup)
    settings, keys = setup.settings, setup.secret_keys
    app = RelayFlask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = webhook.LARGEST_BODY + 1
    pool = sync_pool(store_url, POOL_SIZE, timing)
    app.register_blueprint(probes.blueprint(pool, timing))
    deliveries = webhook.blueprint(Inbox(store_url, timing), settings.webhook_secrets or (), timing)
    http.serve(app, deliveries, http.JSON_ERRORS)
    reports = status_api.blueprint(pool, settings.server_url, keys, current.redactor, clock)
    http.serve(app, reports, status_api.ERRORS)
    live = Live(store_url, timing)
    services = _page_services(
        setup,
        pool,
        live,
        clock,
        actions=actions,
        current=current,
        local=local or LocalConfig.alone(setup),
        simulate=_Simulator(setup, store_url, clock, actions, current),
    )
    http.serve(app, pages.blueprint(services), pages.ERRORS)
    app.extensions[CLOSE] = services.github.close
    app.extensions[LIVE] = live
    install = slack_install.blueprint(
        pool,
        settings.slack,
        settings.server_url,
        current.config,
        Cipher(keys),
        on_install=_notify_again,
    )
    http.serve(app, install, slack_install.ERRORS)
    # Of their own, because Slack waits for three seconds only.
    slack_pool = sync_pool(store_url, SLACK_POOL_SIZE, timing)
    intake = ActionIntake(slack_pool, current.config, actions, timing, clock)
    http.serve(app, slack_actions.blueprint(settings.slack, intake, clock), http.JSON_ERRORS)
    return app


def _page_services(
    setup: Setup,
    pool: SyncPool,
    live: Live,
    clock: Clock,
    *,
    actions: Actions,
    current: Current,
    local: LocalConfig,
    simulate: Callable[[Subject], Simulation],
) -> PageServices:
    settings, keys = setup.settings, setup.secret_keys
    github = GitHubCalls(settings, clock)
    return PageServices(
        pool=pool,
        links=Links(settings.server_url, keys, clock),
        clock=clock,
        config=current.config,
        local_config=local,
        settings=settings,
        secret_keys=keys,
        origins={**ORIGINS, **{name: action.origin for name, action in actions.items()}},
        actions=actions,
        github=github,
        permissions=PermissionCache(pool, github, clock),
        sessions=Sessions(pool, settings.server_url, keys, clock),
        redactor=current.redactor,
        live=live,
        check=partial(findings, setup.environ),
        simulate=simulate,
    )


@dataclass(frozen=True, slots=True)
class _Simulator:
    """By the worker's own functions, which a web process loads only for this."""

    setup: Setup
    store_url: str
    clock: Clock
    actions: Actions
    current: Current

    def __call__(self, subject: Subject) -> Simulation:
        """Errors: psycopg's, and `TimeoutError`."""
        simulation: Simulation = hidden(
            asyncio.run(self._simulated(subject)), self.current.redactor
        )
        return simulation

    async def _simulated(self, subject: Subject) -> Simulation:
        from webhook.worker import open_simulation

        setup = replace(self.setup, config=self.current.config.config)
        async with (
            asyncio.timeout(SIMULATED_WITHIN),
            open_simulation(
                setup, self.store_url, actions=self.actions, clock=self.clock
            ) as services,
        ):
            found = await simulate(services, subject)
            unknown = (*found.unknown, *await worker_caveats(services))
            return replace(found, unknown=unknown)


# What views take as a body; nothing else is read.
BODY_RULES = (
    webhook.BODY_RULE,
    slack_actions.BODY_RULE,
    status_api.BODY_RULE,
    slack_install.BODY_RULE,
    acts.BODY_RULE,
)


_MESSAGES: tuple[Task, ...] = ("notify", "announce")


def _notify_again(connection: Sync, _team: str) -> None:
    """A workspace that is installed again gets what it has missed."""
    for task in _MESSAGES:
        schedule.bring_forward(connection, task)


class _Rereading:
    """What one process of the web server does at SIGHUP: no request notices it."""

    def __init__(self, setup: Setup, current: Current) -> None:
        self._current = current
        self._reloading = Reloading.begin(setup, "web")
        self._lock = Lock()
        self.local = LocalConfig(setup.environ, setup.machine_id, self._reloading.processes)

    def start(self, loop: AbstractEventLoop) -> None:
        loop.add_signal_handler(SIGHUP, lambda: loop.run_in_executor(None, self.read))
        # Before that, one may have been lost.
        loop.run_in_executor(None, self.read)

    def read(self) -> None:
        with self._lock:
            if (setup := self._reloading.read()) is not None:
                self._current.use(setup)
                self._reloading.use(setup)


def _end_streams_at_stop(loop: AbstractEventLoop, live: Live) -> None:
    """granian waits for every response under way when it gets SIGTERM, and does the same at SIGINT
    (granian 2.8, granian/_signals.py)."""

    def stop() -> None:
        loop.remove_signal_handler(SIGTERM)
        live.end()
        raise_signal(SIGINT)

    loop.add_signal_handler(SIGTERM, stop)


def from_environ() -> Gateway:
    """What each process of the web server loads; `python -m webhook web` has set the store."""
    # Flask parses source for its routes. Before Python 3.11.8 that fails if a finalizer formats a
    # traceback meanwhile: https://github.com/python/cpython/issues/106905
    gc.disable()
    setup = startup.set_up(os.environ)
    assert setup.settings.store_source
    current = Current.of(setup)
    rereading = _Rereading(setup, current)
    store_source = setup.settings.store_source
    app = create_app(setup, store_source, current=current, local=rereading.local)

    def on_start(loop: AbstractEventLoop) -> None:
        rereading.start(loop)
        _end_streams_at_stop(loop, app.extensions[LIVE])
        if setup.settings.sign_in:
            loop.run_in_executor(None, app.compile_templates)

    gateway = Gateway(app, BODY_RULES, on_start=on_start)
    # What is loaded stays, and need not be searched again for what is garbage.
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD)
    gc.enable()
    return gateway
