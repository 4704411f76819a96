"""What people who ask for something in Slack are told of what stands in the way."""

from http import HTTPStatus

from webhook.errors import BAD_APP_KEY, LACKS_PERMISSION, Rejected
from webhook.store.actions import Action

_LACKS_PERMISSION = (
    "give the App Deployments: read and write on GitHub, and accept that where it is installed"
)


def refused_words(refused: Rejected, repo: str) -> str:
    """GitHub's no, with what helps; no full stop ends it, because more may follow."""
    words = str(refused).rstrip(". ")
    match refused.status:
        case HTTPStatus.NOT_FOUND:
            return not_there(repo)
        case HTTPStatus.GONE:
            return f"{words}; look at {repo} on GitHub: it takes no deployments any more"
        case HTTPStatus.FORBIDDEN if refused.code == LACKS_PERMISSION:
            return f"{words}; {_LACKS_PERMISSION}"
    if refused.code == BAD_APP_KEY:
        return f"{words}; have GITPLOY_GITHUB_PRIVATE_KEY set anew, with a key of this App"
    return words


def not_there(repo: str) -> str:
    """The same words for both, so that they do not tell what there is."""
    return f"Either the App is not installed in {repo}, or you may not write to it"


def unknown(action: Action, *, by_email: bool) -> str:
    """How to be known; `by_email`: by the e-mail address too."""
    in_config = (
        "The relay does not know who you are on GitHub. Have this put into deploy.yml, with your"
        f" login, and the relay restarted: slack_users: {{YOUR-GITHUB-LOGIN: {action.slack_user}}}"
    )
    if not by_email:
        return in_config
    return (
        f"{in_config}. Or show the address that you have in Slack on your GitHub profile, and ask"
        " again in a minute"
    )


def asked_before(action: Action, other: Action | None) -> str:
    if other is None:
        return "Somebody has asked for that already"
    ours = (other.team, other.slack_user) == (action.team, action.slack_user)
    who = "You have" if ours else f"{other.login or 'Somebody'} has"
    names = {"retry": "a retry", "rollback": "a rollback"}
    return f"{who} asked for {'that' if other.kind == action.kind else names[other.kind]} already"
