"""How long the relay waits, and what time it is: both are handed in where the process begins.

All durations are `timedelta`s. What a vendor prescribes stays with its client.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    return datetime.now(UTC)


def growing_pause(lasted: timedelta, least: timedelta, most: timedelta) -> timedelta:
    """Short at first, then longer and longer, the longer something lasts."""
    return max(least, min(lasted, most))


def _seconds(*values: float) -> tuple[timedelta, ...]:
    return tuple(timedelta(seconds=value) for value in values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    # The store.
    # A request or a job waits so long for a connection.
    connection_within: timedelta = timedelta(seconds=4)
    # PostgreSQL ends a statement after so long, and one that waits for a row's lock.
    statement_within: timedelta = timedelta(seconds=30)
    lock_within: timedelta = timedelta(seconds=3)
    # A connection on which PostgreSQL has not responded for so long is replaced: longer than a
    # statement may take; of one that was idle, which is checked before it is used.
    exchange_within: timedelta = timedelta(seconds=35)
    connection_check_within: timedelta = timedelta(seconds=1)
    # One that was used so lately is not checked, unless PostgreSQL has sent something since.
    connection_trusted_for: timedelta = timedelta(seconds=1)
    # The connection that listens for requests is checked so often.
    listen_check_interval: timedelta = timedelta(seconds=10)
    # /readyz stores a small delivery for a try no more often.
    write_check_interval: timedelta = timedelta(seconds=15)
    # Slack's requests wait so long for one, which leaves time for an error response.
    slack_connection_within: timedelta = timedelta(seconds=2)

    # The worker.
    worker_heartbeat: timedelta = timedelta(seconds=3)
    # A worker without a heartbeat for so long is dead; others do what it had claimed.
    worker_stalled_after: timedelta = timedelta(seconds=12)
    # Between two searches for what no worker does, and for machines that are gone.
    rescue_interval: timedelta = timedelta(seconds=8)
    # A worker claims what is due so often at least, while something is under way (which may have
    # requested more), and while nothing is.
    job_poll_interval: timedelta = timedelta(seconds=0.5)
    idle_poll_interval: timedelta = timedelta(seconds=5)
    # A worker that cannot begin all that is due wakes the others so often.
    help_interval: timedelta = timedelta(seconds=0.5)
    # No job lasts so long: one that hangs is ended, and retried.
    job_within: timedelta = timedelta(minutes=5)
    # Jobs under way have so long to finish when the worker stops.
    shutdown_within: timedelta = timedelta(seconds=10)
    # Before what has lost the store tries again.
    worker_restart_pause: timedelta = timedelta(seconds=1)
    # After an unexpected error in a step of a run; other jobs wait longer with each attempt.
    step_retry: timedelta = timedelta(seconds=5)
    job_retry_at_most: timedelta = timedelta(seconds=60)

    # What was kept for long enough is deleted so often, for so long at most (in small batches).
    retention_interval: timedelta = timedelta(minutes=5)
    retention_lasts: timedelta = timedelta(minutes=1)

    # Outgoing calls.
    # A claimed call may be under way for so long, in whatever process: longer than its time-out.
    claim_lasts: timedelta = timedelta(seconds=12)
    # The result of a call without a clear response is searched so long after it: of a status, of a
    # message (if it can be searched, the first counts), of a deployment (after the call's end).
    status_lookup_after: timedelta = timedelta(seconds=3)
    message_lookups_after: tuple[timedelta, ...] = _seconds(3, 60, 300, 1800, 3600)
    deployment_lookups_after: tuple[timedelta, ...] = _seconds(5, 15, 45)
    # What is rejected with a response that can mean several things is tried again, after pauses
    # that grow with the time for which it lasts, until it counts. People see it after a while.
    rejection_retry_at_least: timedelta = timedelta(seconds=2)
    rejection_retry_at_most: timedelta = timedelta(minutes=1)
    rejection_counts_after: timedelta = timedelta(minutes=5)
    rejection_announced_after: timedelta = timedelta(seconds=2)
    # An installation that is gone or suspended may come back.
    installation_retry_at_least: timedelta = timedelta(seconds=2)
    installation_retry_at_most: timedelta = timedelta(hours=1)
    installation_given_up_after: timedelta = timedelta(days=3)
    # Of what is rejected at one destination, or in one installation, the newest is retried so often
    # at least. Once a write gets through that has waited for so long, what else waits there follows
    # at once.
    newest_rejected_retry: timedelta = timedelta(minutes=2)
    outage_counts_after: timedelta = timedelta(minutes=1)

    # Runs.
    # Between two checks of a run: its handler's pace, whose least is bounded by this.
    first_poll_at_most: timedelta = timedelta(minutes=1)
    # All runs together are checked so often by each worker; what is overdue, twice as often. Their
    # checks are claimed and recorded together with others that are due within so short a time.
    checks_a_second: float = 50
    checks_gathered_for: timedelta = timedelta(seconds=0.1)
    # What a tool does not show yet, or cannot say now, is checked again after this at least, and
    # later at longer intervals: of a tool that is not ready, and of one that is busy or away.
    recheck_at_least: timedelta = timedelta(seconds=2)
    not_ready_recheck_at_most: timedelta = timedelta(seconds=15)
    recheck_at_most: timedelta = timedelta(seconds=60)
    # GitHub gave no clear response whether the App has access.
    access_recheck: timedelta = timedelta(seconds=5)
    # A start that may have run, of a tool that cannot be searched and does not know it again, is
    # repeated after these pauses only. Then it waits for a person.
    restarts_after: tuple[timedelta, ...] = _seconds(20, 120)
    # A deployment that waits for its gates is looked at again so often, whatever they say: a clock
    # may jump, and what has changed may have been missed.
    gates_asked_again_after: timedelta = timedelta(minutes=1)
    # What became of a workflow run that waits for the relay's answer is asked so often, whatever
    # its events say; once it has ended, its last deployment status may take so long.
    rule_runs_checked_after: timedelta = timedelta(hours=1)
    rule_status_within: timedelta = timedelta(minutes=1)
    # What a repository's own deploy.yml said so lately is enough to go on waiting by; it is read
    # again before a start.
    repository_file_trusted_for: timedelta = timedelta(seconds=5)
    # Freezes are announced so long before they begin, in the channels of what was deployed in so
    # long a time; each worker looks for them so often.
    freezes_announced_before: timedelta = timedelta(hours=1)
    freezes_announced_every: timedelta = timedelta(minutes=1)
    deployed_lately: timedelta = timedelta(days=7)
    # An automatic deployment that waits for so long is announced; what it waits for is looked at
    # again after pauses that grow, whatever events say: one may have been lost.
    automatic_announced_after: timedelta = timedelta(seconds=30)
    automatic_asked_again_at_least: timedelta = timedelta(seconds=30)
    automatic_asked_again_at_most: timedelta = timedelta(minutes=5)
    # GitHub's list of deliveries is compared with the store's so often; sooner after a doubt
    # whether all have arrived, which a silence of so long is, too; and where all are pulled.
    deliveries_compared_every: timedelta = timedelta(minutes=10)
    deliveries_compared_after_doubt: timedelta = timedelta(minutes=1)
    deliveries_silent_after: timedelta = timedelta(minutes=5)
    # What GitHub lists of the time before a restore from a backup has come again by then.
    restore_counts_for: timedelta = timedelta(days=8)
    deliveries_pulled_every: timedelta = timedelta(seconds=4)
    # GitHub lists some deliveries late: what is so old is compared once more. A comparison lasts
    # so long at most, and goes on then.
    deliveries_overlap: timedelta = timedelta(minutes=15)
    deliveries_compared_for: timedelta = timedelta(minutes=2)
    # Whether a delivery has arrived that GitHub was asked to send again is seen so long after it;
    # then it is asked once more, or the delivery is given up.
    redeliveries_checked_after: tuple[timedelta, ...] = _seconds(60, 300, 1800)
    # Deployments that GitHub has and the relay does not are looked for so often; one that is so
    # young may be on its way.
    deployments_listed_every: timedelta = timedelta(hours=1)
    # At the start of a worker, what GitHub's list of deliveries has comes first.
    deployments_listed_after_start: timedelta = timedelta(minutes=1)
    # So far back at first; what was listed before is compared once more. One listing lasts no
    # longer, and goes on after so long, as where GitHub was away.
    deployments_listed_back: timedelta = timedelta(days=3)
    deployments_listed_overlap: timedelta = timedelta(minutes=15)
    deployments_listed_for: timedelta = timedelta(minutes=2)
    deployments_listed_again_after: timedelta = timedelta(minutes=1)
    # A deployment of which the relay learns after so long is late.
    late_after: timedelta = timedelta(minutes=2)
    # Just after a push, GitHub may show the branch as it was before.
    head_may_lag_for: timedelta = timedelta(seconds=10)
    # Break-glass: so long the gates that somebody overrides are skipped.
    override_lasts: timedelta = timedelta(minutes=30)
    # An outage of a tool that lasts so long is announced.
    outage_announced_after: timedelta = timedelta(minutes=1)
    # A tool that reports is not polled as well, unless it was silent for so long.
    reports_silent_after: timedelta = timedelta(minutes=2)
    # A tool that sends events is polled if there was none for so long after the start, and later
    # only after so long a silence, which grows from one poll to the next.
    first_event_within: timedelta = timedelta(seconds=10)
    event_polls_at_least: timedelta = timedelta(minutes=2)
    event_polls_at_most: timedelta = timedelta(minutes=5)
    # A command's supervisor ends it at its deadline by itself, and may take so long for that.
    command_grace: timedelta = timedelta(seconds=15)

    # Messages in Slack.
    # From one call in a channel to the next of its kind: Slack takes about one a second.
    channel_interval: timedelta = timedelta(seconds=1)
    # A slot that is so near counts as due.
    slot_tolerance: timedelta = timedelta(milliseconds=20)
    # Entries of a timeline that follow each other so closely share one reply.
    replies_gathered_for: timedelta = timedelta(seconds=5)
    # A message waits so long for GitHub and Slack to say what changed and whom to mention.
    details_within: timedelta = timedelta(seconds=4)
    # GitHub could not say what changed, and is not called about that repository for so long.
    changelog_error_cached: timedelta = timedelta(minutes=1)
    # A channel that only another worker's deploy.yml may name is waited for.
    unknown_channel_kept: timedelta = timedelta(minutes=5)
    unknown_channel_retry: timedelta = timedelta(seconds=30)
    # The longer an error lasts, the longer the wait: of an edit, and of what Slack rejects.
    edit_retry_at_least: timedelta = timedelta(seconds=3)
    edit_retry_at_most: timedelta = timedelta(minutes=1)
    rejected_retry_at_least: timedelta = timedelta(seconds=2)
    rejected_retry_at_most: timedelta = timedelta(minutes=30)
    # The bot may be invited, or installed again.
    rejected_given_up_after: timedelta = timedelta(days=1)

    # Workspaces and their tokens.
    # An operator's token that Slack rejected is not used for so long.
    rejected_token_pause: timedelta = timedelta(minutes=5)
    token_refresh_before: timedelta = timedelta(hours=2)
    # A token that expires so soon might not last until Slack reads it.
    token_margin: timedelta = timedelta(seconds=15)
    # After a refresh that failed, while the old token is valid.
    token_refresh_retry: timedelta = timedelta(minutes=1)
    # Another process refreshes it now.
    token_refresh_recheck: timedelta = timedelta(seconds=1)

    # What people request in Slack.
    # An action that has not begun by then is given up: nobody expects it any more.
    action_begins_within: timedelta = timedelta(minutes=10)
    # The result of a call without a clear response is searched for so long, and so often at least.
    action_given_up_after: timedelta = timedelta(days=1)
    action_lookup_at_most: timedelta = timedelta(minutes=1)
    # Slack lets a form be opened for three seconds.
    form_within: timedelta = timedelta(seconds=2.8)
    # What GitHub has not said by then is not in the form.
    form_details_within: timedelta = timedelta(seconds=1.5)
    # A longer wait is announced to the person.
    wait_announced_after: timedelta = timedelta(seconds=10)
    # A reply that Slack did not accept is retried.
    reply_retries_after: tuple[timedelta, ...] = _seconds(2, 10)
    # How long logins, unknown people and permissions are cached.
    person_cached: timedelta = timedelta(minutes=10)
    nobody_cached: timedelta = timedelta(minutes=1)
    permission_cached: timedelta = timedelta(minutes=1)

    # Socket Mode.
    socket_retry_at_least: timedelta = timedelta(seconds=1)
    socket_retry_at_most: timedelta = timedelta(minutes=1)
    socket_check_interval: timedelta = timedelta(seconds=1)
    # slack_sdk tries an old address for ever: a client without a connection is replaced.
    socket_lost_after: timedelta = timedelta(seconds=15)


DEFAULT_TIMING = Timing()
