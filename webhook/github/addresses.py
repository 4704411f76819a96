"""Where people go on GitHub, by the address of its API.

Source: docs.github.com/rest/using-the-rest-api, docs.github.com/enterprise-cloud "data residency"
(`https://api.SUBDOMAIN.ghe.com`), docs.github.com/enterprise-server (`https://HOST/api/v3`).
"""

from urllib.parse import urlsplit

_PUBLIC_API = "api.github.com"
_DATA_RESIDENCY = ".ghe.com"


def web_url_of(api_url: str) -> str:
    """https://github.com, without a slash at its end."""
    api = urlsplit(api_url)
    host = api.netloc
    if host == _PUBLIC_API or host.endswith(_DATA_RESIDENCY):
        host = host.removeprefix("api.")
    return f"{api.scheme}://{host}"
