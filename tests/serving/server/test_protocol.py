"""What uvicorn's connection is told beyond uvicorn's own settings."""

from __future__ import annotations

import asyncio
import socket

import pytest

uvicorn = pytest.importorskip("uvicorn")

from tactful.server.protocol import bounded_protocol  # noqa: E402


def test_an_answer_does_not_wait_for_the_acknowledgement_of_its_head():
    options = []

    async def app(scope, receive, send):
        options.append(connection().getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"read"})

    def connection():
        [protocol] = server.server_state.connections
        return protocol.transport.get_extra_info("socket")

    async def ask(port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        answer = await reader.read()
        writer.close()
        return answer

    async def main():
        # As `tactful serve` listens: accepted connections do not name their protocol.
        listener = socket.create_server(("127.0.0.1", 0))
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        answer = await ask(listener.getsockname()[1])
        server.should_exit = True
        await serving
        return answer

    http = bounded_protocol(max_connections=8, receive_seconds=10)
    server = uvicorn.Server(uvicorn.Config(app, http=http, ws="none", lifespan="off"))
    assert asyncio.run(main()).endswith(b"read\r\n0\r\n\r\n")
    assert options == [1]
