"""What uvicorn's connection is told beyond uvicorn's own settings."""

from __future__ import annotations

import asyncio
import socket

import pytest

uvicorn = pytest.importorskip("uvicorn")

from tactful import Classifier  # noqa: E402
from tactful.server.connections import Connections, listen  # noqa: E402
from tactful.server.exchanges import Exchanges  # noqa: E402
from tactful.server.live_bundle import LiveBundle  # noqa: E402
from tactful.server.serve_settings import Settings  # noqa: E402
from tactful.server.telemetry import ServiceMetrics  # noqa: E402
from tactful.server.tracing import Tracing  # noqa: E402

REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


def serve(app, client, *, receive_ms=10_000, buffer=None):
    """What a client of an application gets: ``await client(port, connections)``.

    Args:
        buffer: bytes that the kernel takes of an answer before its client reads; None: many.
    """

    async def main():
        settings, metrics = Settings(receive_ms=receive_ms, max_connections=8), ServiceMetrics()
        bundle = LiveBundle(
            Classifier.load, settings.batch_limits, max_chars=9, metrics=metrics, tracing=Tracing()
        )
        connections = Connections(Exchanges(app, {"/"}, bundle, metrics, Tracing()), settings)
        listener = listen("127.0.0.1", 0)
        if buffer is not None:  # accepted connections inherit it
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
        await connections.start(listener)
        result = await client(listener.getsockname()[1], connections)
        await connections.close()
        await bundle.close()
        return result

    return asyncio.run(main())


def test_an_answer_does_not_wait_for_the_acknowledgement_of_its_head():
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"read"})

    async def ask(port, connections):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while not len(connections):
            await asyncio.sleep(0.01)
        [protocol] = connections._state.connections
        connection = protocol.transport.get_extra_info("socket")
        option = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        writer.write(REQUEST)
        answer = await reader.read()
        writer.close()
        return option, answer

    option, answer = serve(app, ask)
    assert option == 1
    assert answer.endswith(b"read\r\n0\r\n\r\n")
    assert b"\r\ndate: " in answer


def test_a_client_that_never_reads_its_answer_does_not_keep_the_connection():
    size = 60_000  # less than what a transport takes before it pauses the application

    async def app(scope, receive, send):
        length = (b"content-length", str(size).encode())
        await send({"type": "http.response.start", "status": 200, "headers": [length]})
        await send({"type": "http.response.body", "body": b"a" * size})

    async def ask(port, connections):
        with socket.socket() as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
            deaf.setblocking(False)
            await asyncio.get_running_loop().sock_connect(deaf, ("127.0.0.1", port))
            deaf.send(REQUEST)
            while not connections._state.total_requests:
                await asyncio.sleep(0.01)
            [protocol] = connections._state.connections
            async with asyncio.timeout(10):
                while not protocol.transport.is_closing():
                    await asyncio.sleep(0.01)
            left = protocol.transport.get_write_buffer_size()
            async with asyncio.timeout(10):
                while len(connections):
                    await asyncio.sleep(0.01)
            return left

    # Closed by the service, its rest not taken: gone all the same.
    assert serve(app, ask, receive_ms=500, buffer=1) > 0


@pytest.mark.parametrize("turns", range(4))
def test_what_is_accepted_just_before_the_end_is_waited_for(turns):
    async def app(scope, receive, send):
        raise AssertionError("nothing was asked")

    async def main():
        connections = Connections(app, Settings())
        listener = listen("127.0.0.1", 0)
        await connections.start(listener)
        with socket.create_connection(listener.getsockname()):
            for _ in range(turns):  # of the loop: the connection waits, is accepted, is being made
                await asyncio.sleep(0)
            await connections.stop_listening(listener)
            assert len(connections) == 1
        await connections.close()

    asyncio.run(main())
