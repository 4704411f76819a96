"""The stages of a repository: what comes before what, by deploy.yml or without it."""

from functools import partial

from tests.config.test_chains import config
from webhook.config.routing import route
from webhook.gates.stages import Stage, in_order


def stages(*entries: str, names: str) -> list[str]:
    """Each with those before it, as `production<qa`. Of `names`, preview/* come and go."""
    loaded = config(*entries)
    given = [
        Stage(name=name, production="prod" in name, transient="/" in name) for name in names.split()
    ]
    found = in_order(loaded, "acme/web", given, partial(route, loaded))
    return ["<".join([one.name, *one.before]) for one in found]


def test_a_chain_stands_in_its_order_and_production_last() -> None:
    entries = ("name: prod, after: qa", "name: qa, after: dev", "name: dev", "name: '*'")
    names = "prod other dev QA preview/1"
    assert stages(*entries, names=names) == ["dev", "other", "preview/1", "QA<dev", "prod<QA"]
    assert stages(*entries, names="prod dev") == ["dev", "prod"], "qa has had no deployment"


def test_without_a_chain_production_comes_after_the_last_of_the_others() -> None:
    entries = ("name: prod", "name: dev", "name: staging", "name: '*'")
    names = "prod preview/1 other staging dev"
    expected = ["dev", "staging", "other", "preview/1", "prod<staging"]
    assert stages(*entries, names=names) == expected
    assert stages("name: '*'", names="prod a b preview/1") == ["a", "b", "preview/1", "prod<b"]
    assert stages("name: '*'", names="prod preview/1") == ["preview/1", "prod"]
