"""Calls the handlers of a FastAPI application without the layers around them.

FastAPI describes the routes, finds what is wrong with an address or a method and writes the OpenAPI
document. Between a known address and its handler it resolves parameters and builds responses, of
which these handlers leave it nothing to do: they take the request and return a response. That
would be a quarter of what HTTP costs for each reply.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import cast

from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from tactful.errors import TactfulError

Handler = Callable[[Request], Awaitable[Response]]


class DirectRoutes:
    """An ASGI application; everything that is no route of its own goes to FastAPI.

    Args:
        app: its routes have fixed paths, and handlers of one parameter, the request.
        refuse: the answer to a request that a handler could not serve.

    Raises:
        ValueError: a route is none of these.
    """

    def __init__(self, app: FastAPI, refuse: Callable[[Request, Exception], Response]) -> None:
        self._app = app
        self._refuse = refuse
        self._routes: dict[tuple[str, str], APIRoute] = {}
        for route in app.routes:
            if isinstance(route, APIRoute):
                if route.param_convertors or route.dependencies:
                    raise ValueError(
                        f"{route.path} needs FastAPI's layers, which are left out here"
                    )
                self._routes |= {(method, route.path): route for method in route.methods or ()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request.

        Raises:
            Exception: what no handler foresaw.
        """
        route = self._routes.get((scope["method"], scope["path"]))
        if route is None:
            await self._app(scope, receive, send)
            return
        scope["route"] = route
        request = Request(scope, receive)
        try:
            response = await cast(Handler, route.endpoint)(request)
        except (TactfulError, ClientDisconnect) as error:
            response = self._refuse(request, error)
        await response(scope, receive, send)
