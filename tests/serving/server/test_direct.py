"""Which routes may be called without FastAPI's layers."""

from __future__ import annotations

import pytest

fastapi = pytest.importorskip("fastapi")

from tactful.server.direct import DirectRoutes  # noqa: E402


async def handler(request):
    raise AssertionError("never called here")


@pytest.mark.parametrize(
    ("path", "options"),
    [("/read/{name}", {}), ("/read", {"dependencies": [fastapi.Depends(lambda: None)]})],
)
def test_routes_that_need_the_layers_are_refused(path, options):
    app = fastapi.FastAPI()
    app.get("/plain")(handler)
    DirectRoutes(app, refuse=lambda request, error: None)
    app.get(path, **options)(handler)
    with pytest.raises(ValueError, match=r"^/read\S* needs FastAPI's layers"):
        DirectRoutes(app, refuse=lambda request, error: None)
