"""Only pages of this server, opened on this machine, may speak to it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]

HOSTS = ("127.0.0.1", "localhost")
REFUSED = 403


class Guard:
    """Refuses requests under a foreign name (DNS rebinding), and those that a page of another origin makes.

    A server on 127.0.0.1 is within reach of every page that the user's browser shows; binding to it is not enough.

    Parameters
    ----------
    app : callable
        The ASGI application behind it.
    port : int
        That of the server.
    """

    def __init__(self, app: Application, port: int) -> None:
        self.app = app
        self.hosts = {f"{host}:{port}".encode() for host in HOSTS}

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] not in ("http", "websocket") or self._is_own(dict(scope["headers"])):
            await self.app(scope, receive, _unframed(send))
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})  # before it is accepted: 403
        else:
            await send(
                {"type": "http.response.start", "status": REFUSED, "headers": [(b"content-type", b"text/plain")]}
            )
            await send({"type": "http.response.body", "body": b"only http://127.0.0.1 on this machine is served\n"})

    def _is_own(self, headers: dict[bytes, bytes]) -> bool:
        origin = headers.get(b"origin")
        own = origin is None or origin.removeprefix(b"http://") in self.hosts
        return own and headers.get(b"host") in self.hosts


def _unframed(send: Send) -> Send:
    """Tell browsers that no foreign page may frame this one."""

    async def tell(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), (b"x-frame-options", b"SAMEORIGIN")]
        await send(message)

    return tell
