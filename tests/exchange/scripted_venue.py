"""An HTTP server that answers what a test says, and says what it was asked."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio
from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Venue:
    """Answers from a script by (method, path); remembers what it was asked."""

    def __init__(self) -> None:
        self.script: dict[tuple[str, str], list[Handler]] = {}
        self.asked: list[web.Request] = []
        self.url = ""

    def will(self, method: str, path: str, *handlers: Handler) -> None:
        self.script[(method, path)] = list(handlers)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request)
        handlers = self.script[(request.method, request.path)]
        return await (handlers.pop(0) if len(handlers) > 1 else handlers[0])(request)


def says(body: object, status: int = 200, **headers: str) -> Handler:
    async def handler(_: web.Request) -> web.StreamResponse:
        return web.json_response(body, status=status, headers=headers)

    return handler


def says_text(text: str, status: int, content_type: str = "text/html") -> Handler:
    async def handler(_: web.Request) -> web.StreamResponse:
        return web.Response(text=text, status=status, content_type=content_type)

    return handler


async def drops(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.close()
    return web.Response()


async def dawdles(_: web.Request) -> web.StreamResponse:
    await anyio.sleep(1)
    return web.json_response({})


async def tears(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Length": "1000", "Content-Type": "application/json"})
    await response.prepare(request)
    await response.write(b'{"clientOrderId":')
    assert request.transport is not None
    request.transport.close()
    return response


@asynccontextmanager
async def serving() -> AsyncIterator[Venue]:
    venue = Venue()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", venue.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    venue.url = f"http://{host}:{port}"
    yield venue
    await runner.cleanup()
