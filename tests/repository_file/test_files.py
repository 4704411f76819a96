"""Files as people have them, in the forms that Gitploy's pages and its own repository have shown:
what each says is in the text beside it.
"""

from collections import Counter
from dataclasses import fields
from pathlib import Path

import pytest

from webhook.repository_file.keys import ENVIRONMENT
from webhook.repository_file.model import FileEnvironment, RepositoryFile
from webhook.repository_file.read import read

FOLDER = Path(__file__).parent / "files"
FILES = sorted(path.stem for path in FOLDER.glob("*.yml"))
APART = {"name", "line", "lines", "errors", "frozen_windows", "approvers", "dynamic_payload"}


def shown(file: RepositoryFile) -> str:
    """All of it, a line each."""
    lines = [line for one in file.environments for line in _environment(one)]
    lines += [f"error {one}" for one in file.errors]
    lines += [f"warning {one}" for one in file.warnings]
    return "".join(f"{line}\n" for line in lines)


def _environment(one: FileEnvironment) -> list[str]:
    lines = [f"{one.name!r} in line {one.line}{', with errors' if one.errors else ''}"]
    for key in (field.name for field in fields(one) if field.name not in APART):
        if (value := getattr(one, key)) is not None:
            lines.append(f"  {key} {value!r}")
    for who in one.approvers:
        lines.append(f"  {who.key} in line {who.line}: {who.count} of {who.logins}")
    for index, window in enumerate(one.frozen_windows):
        lines.append(f"  {window.label} in line {one.lines[f'frozen_windows[{index}]']}")
    if one.dynamic_payload is not None:
        inputs = one.dynamic_payload.inputs.items()
        lines.append(f"  dynamic_payload {'on' if one.dynamic_payload.enabled else 'off'}")
        lines += [f"    {name}: {value!r}" for name, value in inputs]
    return lines


@pytest.mark.parametrize("name", FILES)
def test_it_is_read_as_gitploy_reads_it_and_what_that_ignores_is_said(name: str) -> None:
    text = (FOLDER / f"{name}.yml").read_bytes()
    assert shown(read(text)) == (FOLDER / f"{name}.txt").read_text()


def test_a_rollback_has_variables_of_its_own() -> None:
    text = (FOLDER / "kubernetes.yml").read_bytes()
    assert [one.task for one in read(text).environments] == ["deploy:kubernetes"] * 2
    assert [one.task for one in read(text, rollback=True).environments] == [
        "rollback:kubernetes",
        "rollback:kubernetes",
    ]


def test_each_key_of_gitploys_reference_is_in_two_files_at_least() -> None:
    assert len(FILES) >= 10
    found: Counter[str] = Counter()
    for name in FILES:
        file = read((FOLDER / f"{name}.yml").read_bytes())
        found.update({key for one in file.environments for key in one.lines})
    assert {key for key in (*ENVIRONMENT, "approval") if found[key] < 2} == set()
