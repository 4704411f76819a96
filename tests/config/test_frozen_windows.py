"""What is wrong with a frozen window has its position and a remedy."""

import pytest

from tests.config.test_load import error_in_env, errors

FORMS = "a window is recurring (start, duration) or dated (from, to); write two"


FIELDS = "of five fields: minute, hour, day, month, weekday"


@pytest.mark.parametrize(
    ("window", "error"),
    [
        ('{start: |"0 18 * * * *"}', ".start: '0 18 * * * *' is not a cron expression "
         f'{FIELDS}; write "50 23 * * MON-FRI"'),
        ('{start: |"@daily"}', f".start: '@daily' is not a cron expression {FIELDS}; write "
         '"50 23 * * MON-FRI"'),
        ('{start: |"0 24 * * *"}', ".start: '0 24 * * *' is not a cron expression (Bad hour); "
         "see man 5 crontab"),
        ('{start: |"0 0 13 * FRI"}', ".start: '0 0 13 * FRI' has a day of the month and a "
         "weekday, which cron and Gitploy read differently; write * for one of them, or from "
         "and to"),
        ("{duration: |0s}", ".duration: '0s' is out of bounds; a window lasts from 1s to 8784h, "
         "a year"),
        ("{duration: |-1h}", ".duration: '-1h' is not a duration; write 30s, 30m, 2h or 1h30m"),
        ("{duration: |2}", ".duration: '2' is not a duration; write 30s, 30m, 2h or 1h30m"),
        ("{location: |Europe/Berlni}", ".location: 'Europe/Berlni' is not a time zone; write a "
         "name of the IANA database, as in Europe/Berlin; did you mean 'Europe/Berlin'?"),
        ("{location: |../x}", ".location: '../x' is not a time zone; write a name of the IANA "
         "database, as in Europe/Berlin"),
        ("{from: |2026-12-32}", ".from: '2026-12-32' is not a day or a local time; write "
         '"2026-12-23" or "2026-12-23T18:00", whose zone is location'),
        ("{to: |2026-12-23T18:00Z}", ".to: '2026-12-23T18:00Z' is not a day or a local time; write "
         '"2026-12-23" or "2026-12-23T18:00", whose zone is location'),
        ("{from: 2026-12-23, to: |2026-12-22}", ".to: '2026-12-22' is not after from (2026-12-23); "
         "correct one of them"),
        ('{start: "0 18 * * *", duration: 1h, to: |2026-12-22}', f".to: cannot stand beside start: "
         f"{FORMS}"),
        ('|{start: "0 18 * * *"}', ": lacks duration; write duration: 62h"),
        ("|{to: 2026-12-22}", ': lacks from; write from: "2026-12-23"'),
        ("|{reason: why}", ": needs start and duration, or from and to"),
        ("{lets: [|owner]}", ".lets[0]: 'owner' cannot be here; write rollbacks"),
        ("{|timezone: UTC}", ".timezone: is not a key; known here: announce, duration, from, "
         "lets, location, reason, start, to"),
    ],
)  # fmt: skip
def test_a_window_that_cannot_be_computed_is_an_error(window: str, error: str) -> None:
    line = f"  frozen_windows: [{window}]"
    column = line.index("|") + 1
    found = error_in_env(line.replace("|", ""))
    assert found == f"4:{column}: envs[0].frozen_windows[0]{error}"


@pytest.mark.parametrize(
    ("window", "error"),
    [
        ("{repos: [acme]}", "1:27: frozen_windows[0].repos[0]: 'acme' is not a repository; write "
         "owner/name, owner/* or *"),
        ("{from: 2026-12-23, to: 2026-12-24, environments: [b]}", "1:18: frozen_windows[0]: is for "
         "no environment of this file; correct its repos or environments"),
        ("{environments: []}", "1:33: frozen_windows[0].environments: must not be empty"),
        ("{reposs: [a/b]}", "1:19: frozen_windows[0].reposs: is not a key; known here: announce, "
         "duration, environments, from, lets, location, reason, repos, start, to; did you mean "
         "'repos'?"),
    ],
)  # fmt: skip
def test_at_the_top_of_the_file_it_has_patterns(window: str, error: str) -> None:
    found = errors(f"frozen_windows: [{window}]\nenvs: [{{name: a, handler: command}}]")
    assert f"deploy.yml:{error}" in found
