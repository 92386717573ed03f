"""The page served to this machine's own browser."""

from __future__ import annotations

import socket
from pathlib import Path
from tempfile import mkdtemp

from nicegui import app, ui

from crystalnet.app.downloads import serve_results
from crystalnet.app.guard import Guard
from crystalnet.app.page import page
from crystalnet.app.queue import Queue
from crystalnet.records import InputError

HOST = "127.0.0.1"
RESULTS = "crystalnet-app"


def serve(port: int, browser: bool) -> None:
    """Serve until Ctrl-C. InputError where the port is in use."""
    _refuse_used(port)
    queue = Queue(Path(mkdtemp(prefix="crystalnet-app-")), Path.cwd() / RESULTS)
    app.add_middleware(Guard, port=port)
    app.on_startup(queue.warm_up)
    app.on_shutdown(queue.close)  # at SIGTERM too, where nothing after `ui.run` is reached
    serve_results(queue)
    print(f"http://{HOST}:{port} (Ctrl-C ends it); results go to {queue.out}", flush=True)
    try:
        ui.run(
            lambda: page(queue),
            host=HOST,
            port=port,
            title="CrystalNet",
            favicon="💎",
            show=browser,
            reload=False,
            tailwind=False,  # the page has its own style sheet; this one is compiled in the browser at every load
            show_welcome_message=False,
        )
    finally:
        queue.close()


def _refuse_used(port: int) -> None:
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server itself: a port just left is free
        try:
            trial.bind((HOST, port))
        except OSError as error:
            raise InputError(
                f"port {port}: {(error.strerror or str(error)).lower()}; choose another with --port"
            ) from None
