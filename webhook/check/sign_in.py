"""Whether people can sign in with GitHub.

GitHub says whether it takes the client secret. Its callback URLs cannot be read, nor whether one
also matches other addresses below it; a wrong one shows at the first sign-in at the latest.
"""

import aiohttp

from webhook.check import Finding
from webhook.errors import RelayError
from webhook.github.authorization import BAD_CLIENT, BAD_CODE, BAD_REDIRECT, authorization_of
from webhook.settings import Settings
from webhook.timing import utc_now

_SUBJECT = "sign-in"


async def check_sign_in(settings: Settings, session: aiohttp.ClientSession) -> list[Finding]:
    authorization = authorization_of(settings, utc_now)
    if authorization is None:
        message = (
            "nobody can sign in, so there are no pages but those of single deployments; set"
            " GITPLOY_GITHUB_CLIENT_ID and GITPLOY_GITHUB_CLIENT_SECRET to have them"
        )
        return [Finding("note", _SUBJECT, message)]
    try:
        code = await authorization.verify(session)
    except RelayError as error:
        return [Finding("note", _SUBJECT, f"GitHub does not say whether it works: {error}")]
    uri = authorization.redirect_uri
    if code == BAD_CODE:
        message = f"GitHub takes the client secret; people come back to the callback URL {uri}"
        return [Finding("ok", _SUBJECT, message)]
    if code == BAD_CLIENT:
        message = (
            f"GITPLOY_GITHUB_CLIENT_SECRET is not a client secret of the App"
            f" {authorization.client_id}; generate one in the App's settings and set it"
        )
    elif code == BAD_REDIRECT:
        message = f"the App has no callback URL {uri}; add it in the App's settings"
    else:
        message = f"GitHub returned {code or 'an error without a name'} to a sign-in"
    return [Finding("error", _SUBJECT, message)]
