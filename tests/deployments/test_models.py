"""Which deployments are production."""

from webhook.deployments.models import is_production


def test_production_is_as_configured_else_by_the_environments_name() -> None:
    assert is_production("Production", None)
    assert is_production("Staging", configured=True)
    assert not is_production("preview/1", None)
    assert not is_production("production", configured=False)
