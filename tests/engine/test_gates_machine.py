"""Whatever happens in whatever order, gates hold four promises; a model of them says when.

Never two runs in one environment; never a start past a gate; nothing that may start is forgotten;
no approval counts for what it was not given to. The suite tries the same few stories each time;
GATES_EXAMPLES=1000 tries as many new ones.
"""

import asyncio
import contextlib
import json
import os
import random
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from handlers.contract import Deployment, State
from sandbox.github.model import User
from tests.engine.by_hand import MINUTE, ByHandWorker, Engine, Killed, engine_by_hand
from tests.engine.gates_model import DENIED, Answer, Asked, Freeze, Lock, Model, Review
from webhook.config.routing import route
from webhook.deployments.locks import Lets
from webhook.engine.gates import ask_all
from webhook.engine.locks import By, NothingLocked, lock_scope, unlock_scope
from webhook.gates.approval import review_of
from webhook.store.locks import NewLock

T = TypeVar("T")

EXAMPLES = int(os.environ.get("GATES_EXAMPLES", "0"))
# The shortest story that breaks a promise takes minutes to find: GATES_SHRINK=1.
PHASES = [Phase.generate, *([Phase.shrink] if os.environ.get("GATES_SHRINK") else [])]
REPOS = ("acme/site", "acme/shop")
SPELLINGS = ("production", "Production", "PRODUCTION", "free", "reviewed", "Reviewed")
PEOPLE = ("octocat", "ann", "bob")
BOT = "robot[bot]"
KILLS = ("before a start", "after a start")
USED = "truncate deployments, deliveries, schedule, locks cascade"


which = st.integers(min_value=0, max_value=20)
minutes = st.integers(min_value=1, max_value=90).map(lambda count: count * MINUTE)
orders = st.none() | st.integers(min_value=0, max_value=99).map(random.Random)
lets = st.sets(st.sampled_from(["owner", "rollbacks"])).map(lambda those: tuple(sorted(those)))
reviews = st.builds(
    Review,
    reviewers=st.sampled_from([PEOPLE, PEOPLE[:2]]),
    count=st.integers(min_value=1, max_value=2),
    own=st.booleans(),
    expires=st.none() | st.just(60 * MINUTE),
)


def deploy_yml(model: Model) -> str:
    """JSON is YAML, too."""
    common = {"handler": "by-hand", "creators": "*", "timeout": "72h", "wait_limit": "6h"}
    environments: list[dict[str, Any]] = [
        {"name": name, **common} for name in ("production", "free", "reviewed")
    ]
    for one in environments:
        if windows := [_window(it) for it in model.freezes if it.environment == one["name"]]:
            one["frozen_windows"] = windows
    environments[1]["serialization"] = False
    environments[2]["review"] = _review(model.review)
    return json.dumps({"envs": environments})


def _window(freeze: Freeze) -> dict[str, Any]:
    begin, end = (f"{at:%Y-%m-%dT%H:%M}" for at in (freeze.begin, freeze.end))
    return {"from": begin, "to": end, "location": "UTC", "lets": list(freeze.lets)}


def _review(review: Review) -> dict[str, Any]:
    expires = {"expires": f"{review.expires // MINUTE}m"} if review.expires else {}
    reviewers, count = list(review.reviewers), review.count
    more = {"reviewers": reviewers, "count": count, "self": review.own, **expires}
    return {"enabled": True, **more}


class GatesMachine(RuleBasedStateMachine):
    """Each rule is something that a person, a tool, a worker or the time does. Only `work` and its
    like let the relay do something about it."""

    def __init__(self, runner: asyncio.Runner, engine: Engine) -> None:
        super().__init__()
        self.runner, self.engine = runner, engine
        self.model = Model()
        self.violations: list[str] = []
        self.known_phases: dict[int, str] = {}

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    @property
    def now(self) -> datetime:
        return self.engine.clock.now

    @initialize()
    def begin(self) -> None:
        self.run(self.engine.execute(USED))
        self.engine.tool.clear()
        self.engine.tool.on_start = self.on_start
        self._edit()

    # -- what people do -------------------------------------------------------------------------

    @rule(
        repo=st.sampled_from(REPOS),
        environment=st.sampled_from(SPELLINGS),
        refs=st.lists(st.sampled_from(["v1", "v2"]), min_size=1, max_size=3),
        by=st.sampled_from((*PEOPLE, BOT)),
        works=st.booleans(),
    )
    def ask(self, repo: str, environment: str, refs: list[str], by: str, works: bool) -> None:
        for ref in refs:
            self._ask(repo, environment, ref, by)
            if works:
                self.work(None)

    def _ask(self, repo: str, environment: str, ref: str, by: str) -> None:
        made = self.run(self.engine.ask(repo, environment, ref, by=self._user(by)))
        person = "" if by == BOT else by
        repo_id = made.repository.id
        asked = Asked(made.id, repo_id, environment, made.sha, person)
        self.model.asked[made.id] = asked

    @rule(
        repo=st.sampled_from(["", *REPOS]),
        environment=st.sampled_from(["*", "production", "free", "reviewed"]),
        owner=st.sampled_from(PEOPLE),
        lets=lets,
        lasts=st.none() | minutes,
    )
    def lock(
        self,
        repo: str,
        environment: str,
        owner: str,
        lets: tuple[Lets, ...],
        lasts: timedelta | None,
    ) -> None:
        repo_id = self.engine.sandbox.github.repository(repo).id if repo else 0
        scope = (repo_id, environment)
        self.model.locks = [one for one in self.model.locks if one.scope != scope]
        until = None if lasts is None else self.now + lasts
        self.model.locks.append(Lock(repo_id, environment, owner, lets, until))
        new = NewLock(
            repo_id=repo_id,
            repo=repo,
            environment=environment,
            owner=owner,
            reason="an incident",
            lets=lets,
            source="command line",
            created_at=self.now,
            expires_at=until,
        )
        self.run(self._locked(new))

    @precondition(lambda self: self.model.locks)
    @rule(index=which)
    def unlock(self, index: int) -> None:
        lock = self.model.locks.pop(index % len(self.model.locks))
        self.run(self._unlocked(lock))

    @rule(
        environment=st.sampled_from(["production", "free"]),
        begins=st.integers(min_value=-1, max_value=30).map(lambda count: count * MINUTE),
        lasts=minutes,
        lets=st.sampled_from([(), ("rollbacks",)]),
    )
    def freeze(
        self, environment: str, begins: timedelta, lasts: timedelta, lets: tuple[str, ...]
    ) -> None:
        begin = self.now + begins
        self.model.freezes.append(Freeze(environment, begin, begin + lasts, lets))
        self._edit()

    @precondition(lambda self: self.model.freezes)
    @rule(index=which)
    def thaw(self, index: int) -> None:
        self.model.freezes.pop(index % len(self.model.freezes))
        self._edit()

    @rule(review=reviews)
    def change_policy(self, review: Review) -> None:
        self.model.review = review
        self._edit()

    @precondition(lambda self: self.model.asked)
    @rule(index=which, by=st.sampled_from(PEOPLE), yes=st.sampled_from([True, True, True, False]))
    def answer(self, index: int, by: str, yes: bool) -> None:
        """Whoever answers is a reviewer, and the deployment waits; others cannot answer."""
        self._answer(index, by, yes)

    @rule(
        repo=st.sampled_from(REPOS),
        by=st.sampled_from((*PEOPLE, BOT)),
        answers=st.lists(st.sampled_from(PEOPLE), min_size=1, max_size=2),
        review=st.none() | reviews,
        span=st.sampled_from([0 * MINUTE, 0 * MINUTE, 61 * MINUTE]),
    )
    def review(
        self, repo: str, by: str, answers: list[str], review: Review | None, span: timedelta
    ) -> None:
        """Somebody asks, people agree, and before the relay acts on that, something changes."""
        self._ask(repo, "reviewed", "v1", by)
        self.work(None)
        for person in answers:
            self._answer(-1, person, yes=True)
        if review is not None:
            self.change_policy(review)
        self.pass_time(span)
        self.work(None)

    def _answer(self, index: int, by: str, yes: bool) -> None:
        waiting = [
            one
            for one in self._open()
            if one.environment.lower() == "reviewed" and one.id not in self.engine.tool.runs
        ]
        if waiting and by in self.model.review.reviewers:
            one = waiting[index % len(waiting)]
            self.run(self._answered(one, by, yes))
            given = Answer(one.id, by, yes, self.model.review, self.now)
            self.model.answers.append(given)

    @precondition(lambda self: self.model.asked)
    @rule(index=which, gate=st.sampled_from(["lock", "freeze", "approval"]))
    def override(self, index: int, gate: str) -> None:
        if opened := self._open():
            one = opened[index % len(opened)]
            until = self.now + 30 * MINUTE
            self.run(self._override(one, gate, until))
            self.model.overrides.append((one.id, gate, until))

    @precondition(lambda self: self.model.asked)
    @rule(index=which)
    def cancel(self, index: int) -> None:
        if opened := self._open():
            one = opened[index % len(opened)]
            self.model.cancelled.add(one.id)
            statement = "update deployments set cancel_requested_by = 'ann', version = version + 1"
            self.run(self.engine.execute(f"{statement} where id = %s", one.id))
            self.run(self.engine.request(one.id))

    # -- what tools, time and workers do ----------------------------------------------------------

    # No precondition: hypothesis wants those to be the same each time, whatever workers do.
    @rule(index=which, state=st.sampled_from([State.SUCCESS, State.SUCCESS, State.FAILURE]))
    def end_run(self, index: int, state: State) -> None:
        running = self.engine.tool.running()
        if not running:
            return
        one = running[index % len(running)]
        if one.id not in self.model.cancelled and state is State.SUCCESS:
            self.model.succeeded.add(one.id)
        self.run(self.engine.end(one.id, state))

    @rule(span=minutes)
    def pass_time(self, span: timedelta) -> None:
        self.run(self.engine.pass_time(span))

    @rule(span=st.integers(min_value=-60, max_value=240).map(lambda count: count * MINUTE))
    def jump(self, span: timedelta) -> None:
        """The clock is set. It is noticed when what waits is asked again."""
        self.engine.clock.now += span
        self.run(self.engine.execute("update schedule set due_at = due_at - %s", MINUTE))

    @rule(order=orders)
    def work(self, order: random.Random | None) -> None:
        self.run(self.engine.settle(ByHandWorker(self.engine, order)))
        self._check_all()

    @rule(order=orders, at=st.integers(min_value=1, max_value=25) | st.sampled_from(KILLS))
    def work_and_be_killed(self, order: random.Random | None, at: int | str) -> None:
        after = at if isinstance(at, int) else None
        worker = ByHandWorker(self.engine, order, killed_after=after, name="killed")
        self.engine.tool.kills = at if isinstance(at, str) else ""
        with contextlib.suppress(Killed):
            self.run(self.engine.settle(worker))
        self.engine.tool.kills = ""
        self.run(worker.gone())
        self._check_ended()

    @rule(orders=st.tuples(orders, orders))
    def work_beside_each_other(self, orders: tuple[Any, Any]) -> None:
        async def work() -> None:
            workers = [
                ByHandWorker(self.engine, order, name=f"worker {number}")
                for number, order in enumerate(orders)
            ]
            await asyncio.gather(*map(self.engine.settle, workers))

        self.run(work())
        self._check_all()

    def teardown(self) -> None:
        """In the end nothing holds anything back, and all that may run runs."""
        self.model.freezes.clear()
        self._edit()
        while self.model.locks:
            self.unlock(0)
        self.work(None)
        while self.engine.tool.running():
            self.end_run(0, State.SUCCESS)
            self.work(None)
        assert {it for one in self._open() for it in self._blocked(one)} <= {"approval"}

    # -- the promises -----------------------------------------------------------------------------

    def _blocked(self, one: Asked) -> set[str]:
        return self.model.blocked(one, self.now) or {"its turn"}

    def on_start(self, deployment: Deployment) -> None:
        """At the very moment that the tool is started."""
        one = self.model.asked[deployment.id]
        beside = [other for other in self._running() if other.key == one.key]
        if beside and one.key[1] not in self.model.unserialized:
            self.violations.append(f"{one.id} starts beside {beside[0].id}")
        if blocked := self.model.blocked(one, self.now):
            self.violations.append(f"{one.id} starts past {blocked}")
        if deployment.id in self.engine.tool.started:
            self.violations.append(f"{one.id} starts twice")
        if deployment.sha != one.sha:
            self.violations.append(f"{one.id} starts with another commit")

    def _check_ended(self) -> None:
        """Whatever has ended had a reason for it."""
        assert not self.violations
        phases = self._phases()
        for id_, phase in phases.items():
            one, tool = self.model.asked[id_], self.engine.tool.runs.get(id_)
            if phase == self.known_phases.get(id_):
                continue
            if phase == "superseded":
                newer = [it for it in self.model.asked.values() if self._may_supersede(it, one)]
                assert newer, f"{id_} was superseded by nothing"
                assert tool is None, f"{id_} was superseded while it ran"
            if phase in ("success", "failure"):
                assert tool is not None, f"{id_} did not run"
                assert tool.state.value == phase
            if phase == "error" and tool is None:
                blocked = self.model.blocked(one, self.now)
                given_up = self._overdue(one) or id_ in self.model.cancelled
                assert given_up or DENIED in blocked, f"{id_} ended without a reason"
        self.known_phases = phases

    def _may_supersede(self, newer: Asked, one: Asked) -> bool:
        if newer.key != one.key or newer.id <= one.id:
            return False
        return (
            newer.id in self.engine.tool.runs
            or self._phases().get(newer.id) in ("superseded", "error")
            or not self.model.blocked(newer, self.now)
        )

    def _check_all(self) -> None:
        """Nothing that may start waits, once nothing is left to do."""
        self._check_ended()
        running = {one.key: one for one in self._running()}
        ready: dict[tuple[int, str], list[Asked]] = {}
        for one in self._open():
            blocked = self.model.blocked(one, self.now)
            assert one.id not in self.model.cancelled, f"{one.id} was cancelled, and goes on"
            if one.id in self.engine.tool.runs:
                continue
            assert DENIED not in blocked, f"{one.id} is denied, and has not ended"
            assert not self._overdue(one), f"{one.id} waits for too long"
            if not blocked:
                ready.setdefault(one.key, []).append(one)
        for key, those in ready.items():
            assert key in running, f"{those[-1].id} may start, and was forgotten"
            assert key[1] not in self.model.unserialized, f"{those[-1].id} was forgotten"
            assert len(those) == 1, f"{those[0].id} waits, although {those[-1].id} goes first"
            assert those[0].id > running[key].id, f"{those[0].id} waits to go back"

    # -- the rest ---------------------------------------------------------------------------------

    def _running(self) -> list[Asked]:
        return [self.model.asked[one.id] for one in self.engine.tool.running()]

    def _overdue(self, one: Asked) -> bool:
        """Since the relay has heard of it."""
        [row] = self.run(
            self.engine.rows("select requested_at from deployments where id = %s", one.id)
        )
        return bool(self.now >= row["requested_at"] + self.model.wait_limit)

    def _open(self) -> list[Asked]:
        query = "select id from deployments where ended_at is null order by id"
        return [self.model.asked[row["id"]] for row in self.run(self.engine.rows(query))]

    def _phases(self) -> dict[int, str]:
        rows = self.run(self.engine.rows("select id, phase from deployments order by id"))
        return {row["id"]: row["phase"] for row in rows}

    async def _locked(self, new: NewLock) -> None:
        services = self.engine.services
        async with services.pool.connection() as connection, connection.transaction():
            await lock_scope(services, connection, new, take_over=True)

    async def _unlocked(self, lock: Lock) -> None:
        services, by = self.engine.services, By(person="ann", source="command line")
        with contextlib.suppress(NothingLocked):  # it has expired
            async with services.pool.connection() as connection, connection.transaction():
                await unlock_scope(services, connection, lock.scope, by, take_over=True)

    async def _answered(self, one: Asked, by: str, yes: bool) -> None:
        """As the button in Slack records it, at the time of the test."""
        environment = route(self.engine.services.config, REPOS[0], one.environment)
        assert environment is not None
        await self.engine.execute(
            "insert into approvals (deployment_id, repo_id, environment, sha, policy, user_id,"
            " login, approved, source, at) values (%s, %s, %s, %s, %s, %s, %s, %s, 'slack', %s)",
            *(one.id, one.repo_id, one.key[1], one.sha, review_of(environment).digest),
            *(self._user(by).account.id, by, yes, self.now),
        )
        await self.engine.request(one.id)

    def _user(self, login: str) -> User:
        users = self.engine.sandbox.github.world.users.values()
        return next(one for one in users if one.account.login == login)

    async def _override(self, one: Asked, gate: str, until: datetime) -> None:
        await self.engine.execute(
            "insert into overrides (deployment_id, gates, login, reason, source, at, expires_at)"
            " values (%s, %s, 'ann', 'an incident', 'slack', %s, %s)",
            *(one.id, [gate], self.now, until),
        )
        await self.engine.request(one.id)

    def _edit(self) -> None:
        """Workers are started anew with another deploy.yml."""
        config = self.engine.load(deploy_yml(self.model))
        self.engine.services = replace(self.engine.services, config=config)
        self.run(ask_all(self.engine.services))


@pytest.mark.slow
def test_whatever_happens_the_promises_hold(store_url: str, tmp_path: Path) -> None:
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        text = deploy_yml(Model())
        opened = engine_by_hand(store_url, tmp_path, text, repos=REPOS)
        engine = runner.run(stack.enter_async_context(opened))
        for login in ("ann", "bob", BOT):
            engine.sandbox.github.add_user(login)
        try:
            run_state_machine_as_test(
                lambda: GatesMachine(runner, engine),  # type: ignore[arg-type]
                settings=settings(
                    max_examples=EXAMPLES or 10,
                    derandomize=not EXAMPLES,
                    stateful_step_count=50,
                    deadline=None,
                    suppress_health_check=list(HealthCheck),
                    phases=PHASES,
                ),
            )
        finally:
            runner.run(stack.aclose())
