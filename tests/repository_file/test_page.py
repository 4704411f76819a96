"""docs/reference/gitploys-deploy-yml.md is complete, and true."""

import re
from pathlib import Path

from webhook.repository_file import keys
from webhook.repository_file.model import MOST_BYTES, MOST_ENVIRONMENTS
from webhook.repository_file.read import read
from webhook.repository_file.variables import gitploys
from webhook.repository_file.windows import MOST_WINDOWS

PAGE = (Path(__file__).parents[2] / "docs/reference/gitploys-deploy-yml.md").read_text()


def test_each_key_has_a_row() -> None:
    rows = set(re.findall(r"^\| `([\w.\[\]]+)` \|", PAGE, re.M))
    known = {*keys.FILE, *keys.ENVIRONMENT, "approval", "approvers"}
    known |= {f"review.{key}" for key in keys.REVIEW}
    known |= {f"frozen_windows[].{key}" for key in keys.WINDOW}
    known |= {f"dynamic_payload.{key}" for key in keys.DYNAMIC_PAYLOAD}
    assert known - rows == set()
    assert rows - known == {"GITPLOY_TAG"}
    assert all(f"`${{{name}}}`" in PAGE for name in gitploys(rollback=False))


def test_its_example_is_read_without_a_complaint() -> None:
    [example] = re.findall(r"^```\n(envs:.*?)^```$", PAGE, re.M | re.S)
    file = read(example.encode())
    assert (file.errors, file.warnings) == ((), ())
    [environment] = file.environments
    assert (environment.task, len(environment.frozen_windows)) == ("deploy:kubernetes", 1)


def test_its_limits_are_those_of_the_code() -> None:
    assert f"at most {MOST_BYTES // 1024} KB, {MOST_ENVIRONMENTS} environments" in PAGE
    assert f"{MOST_WINDOWS} windows in each" in PAGE
