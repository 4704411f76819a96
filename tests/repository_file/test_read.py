"""A repository's file is written by whoever may push there: whatever it holds, it is read soon."""

import time
from collections.abc import Iterator

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from webhook.repository_file.read import read


def errors(text: str | bytes) -> list[str]:
    file = read(text.encode() if isinstance(text, str) else text)
    return [str(error) for error in file.errors]


def bomb() -> str:
    names = "abcdefghi"
    lines = [f"{names[0]}: &{names[0]} [x, x, x, x, x, x, x, x]"]
    for one, before in zip(names[1:], names, strict=False):
        lines.append(f"{one}: &{one} [{', '.join([f'*{before}'] * 8)}]")
    return "\n".join([*lines, "envs: [{name: a, payload: {b: *i}}]"])


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "1:1: is empty; write envs:"),
        ("# nothing", "1:1: is empty; write envs:"),
        ("envs:", "1:6: envs: must be a list; write envs:"),
        ("envs: []", "1:7: envs: is empty; write envs:"),
        ("name: production", "1:1: has no envs; write envs:"),
        ("production: {? [a] : b}", "1:1: has no envs; write envs:"),
        ("envs: [production]", "1:8: envs[0]: must have keys with values, not 'production'"),
        (b"envs:\n- name: caf\xe9", "2:1: is not UTF-8; save it as UTF-8"),
        (b"\xff\xfee\x00n\x00", "1:1: is not UTF-8; save it as UTF-8"),
        ("x" * 65_537, "1:1: is larger than 64 KB; shorten it"),
        ("envs: [{name: a, payload: {b: " + "[" * 40 + "]" * 40 + "}}]",
         "1:56: cannot be read as YAML: values are nested too deeply"),
        (bomb(), "cannot be read as YAML: it has more than 5000 values"),
        ("a: &a [*a]\nenvs: [{name: a, payload: {b: *a}}]",
         "1:4: cannot be read as YAML: values are nested too deeply"),
        ("a: &a {<<: *a}\nenvs: [{<<: *a, name: a}]", "must be an alias of keys with values"),
        ("envs: [" + "{name: a}, " * 101 + "]",
         "envs: has more than 50 environments; write fewer"),
        ("envs: [{name: a, frozen_windows: [" + "{}, " * 21 + "]}]",
         "envs[0].frozen_windows: are more than 20; write fewer"),
        ("envs: [{name: a, name: b}]", "1:18: envs[0].name: is there twice, first in line 1"),
        ("envs: [{name: a, [b]: c}]", "1:18: envs[0]: has a key that is not text"),
        ("envs: [{name: a, task: !!binary aGk=}]", "envs[0].task: is not text; remove its tag"),
        ("envs: [{name: a, payload: {x: .inf}}]", "is not a number that fits"),
        ("envs: [{name: a, review: {enabled: true, reviewers: [a], count: 0}}]",
         "envs[0].review.count: '0' is out of bounds; it is 1 to 100"),
        ("envs: [{name: a, review: {enabled: true, reviewers: ['@octocat', acme/sre]}}]",
         "'@octocat' is not a GitHub login; write it without @, as in octocat"),
        ("envs: [{name: a, deployable_ref: ''}]", "envs[0].deployable_ref: is empty; write"),
        ("envs: [{name: a, frozen_windows: [{start: '0 0 * * *', duration: 1h, location: Local}]}]",
         "'Local' is the zone of the server, which differs; write its name, as in Europe/Berlin"),
        ("envs: [{name: a, frozen_windows: [{start: '*/0 * * * *', duration: 1h}]}]",
         "is not a cron expression (Bad minute)"),
        ("envs: [{name: a, frozen_windows: [{start: '0 0 31 2 FRI', duration: 1h}]}]",
         "is not a cron expression (Bad day-of-month)"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_an_error(text: str | bytes, error: str) -> None:
    found = errors(text)
    assert any(error in one for one in found), found


def test_what_a_merged_mapping_says_itself_counts_before_what_it_merges() -> None:
    text = """
    x-open: &open {serialization: false, deployable_ref: ^a$}
    x-first: &first {deployable_ref: ^b$, task: first}
    x-closed: &closed
      <<: [*first, *open]
      serialization: true
    envs: [{<<: *closed, name: a, task: own}]
    """
    [found] = read(text.encode()).environments
    assert (found.serialization, found.deployable_ref, found.task) == (True, "^b$", "own")
    twice = text.replace("task: first", "task: a, task: b").replace("task: own", "auto_merge: on")
    assert any("envs[0].task: is there twice, first in line 3" in one for one in errors(twice))


def test_what_only_others_say_is_no_key_here() -> None:
    text = "envs: [{name: a, 'on': 1, \"\\x1b[31m\\nred\": 2}]"
    warnings = [str(one) for one in read(text.encode()).warnings]
    assert len(warnings) == 2
    assert all(one.isprintable() for one in warnings)


def hostile() -> Iterator[str]:
    yield "envs:\n" + "".join(f"- name: e{i}\n" for i in range(4000))
    yield "envs: [{name: a, deployable_ref: '" + "(" * 60_000 + "'}]"
    yield "envs: [{name: a, payload: '" + "$" * 60_000 + "'}]"
    yield "envs:\n- name: a\n  payload:\n" + "    - x\n" * 7_000
    windows = ", ".join(["{start: '* * 29 2 FRI', duration: 2562047h}"] * 20)
    yield f"envs: [{{name: a, frozen_windows: [{windows}]}}]"
    yield "envs: [{name: a, frozen_windows: [{start: '* * * * *', duration: " + "1" * 9000 + "}]}]"
    yield (
        "x: &x {"
        + ", ".join(f"k{i}: 1" for i in range(2000))
        + "}\nenvs: [{"
        + "<<: *x, " * 9
        + "}]"
    )
    unknown = ",".join(f"${{GITPLOX_{i}}}" for i in range(3700))
    yield f"envs:\n- name: a\n  foo: [{unknown}]"
    yield "envs:\n- name: a\n" + "".join(f"  deployable_r{i}: 1\n" for i in range(2400))
    zones = ",".join(f"{{start: x, location: Eurpe/Brlin{i}}}" for i in range(20))
    yield "envs:\n" + "".join(f"- name: e{i}\n  frozen_windows: [{zones}]\n" for i in range(50))
    yield "- " * 20_000
    yield "{" * 30_000


@pytest.mark.parametrize("text", tuple(hostile()), ids=range(12))
def test_a_hostile_one_is_read_soon(text: str) -> None:
    began = time.process_time()
    read(text.encode())
    assert time.process_time() - began < 2.5


PARTS = st.sampled_from(
    ["envs:", "\n", "- ", "name: a", "  ", "{", "}", "[", "]", ": ", ", ", "&a ", "*a", "<<: ", "'",
     '"', "${GITPLOY_DEPLOY_TASK", ":=", "}", "$$", "\\", "review", "enabled: true", "reviewers",
     "approval", "frozen_windows", "start", "* * * * *", "duration", "1h", "payload",
     "dynamic_payload", "inputs", "type: select", "options", "é", "\r\n", "\t", "# ", "!!binary ",
     "| ", "\x00", "0x1F", "1:30", "~"]
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.lists(PARTS, max_size=40).map("".join) | st.binary(max_size=60))
@example("envs: [{? a: b}]")
def test_no_text_raises(text: str | bytes) -> None:
    raw = text.encode() if isinstance(text, str) else text
    file = read(raw)
    lines = raw.decode("utf-8", errors="replace").count("\n") + raw.count(b"\r") + 1
    for one in (*file.errors, *file.warnings):
        assert 1 <= one.line <= lines
        assert one.column >= 1
    for environment in file.environments:
        assert file.errors_for(environment.name) is not None
