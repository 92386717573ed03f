"""Addresses of results: the report, single files, the folder as a zip, a project of another program."""

from __future__ import annotations

from pathlib import Path

from nicegui import app
from starlette.responses import FileResponse, PlainTextResponse, Response

from crystalnet.app.entry import Entry
from crystalnet.app.queue import Queue
from crystalnet.app.work import zipped
from crystalnet.records import InputError

PLACE = "/results"


def serve_results(queue: Queue) -> None:
    """Answer requests for the results of a session."""

    @app.get(PLACE + "/{number}/files/{name}")
    def file(number: int, name: str) -> Response:
        folder, files = _results(queue, number)
        if name not in files or not (folder / name).is_file():  # only what solution.json lists leaves the folder
            return PlainTextResponse("no such file", 404)
        inline = name == "report.html"
        return FileResponse(folder / name, filename=name, content_disposition_type="inline" if inline else "attachment")

    @app.get(PLACE + "/{number}/zip")
    def folder(number: int) -> Response:
        place, files = _results(queue, number)
        return _zip(zipped(place), place.name) if files else PlainTextResponse("no such result", 404)

    @app.get(PLACE + "/{number}/export/{program}/{candidate}")
    async def project(number: int, program: str, candidate: int) -> Response:
        entry = queue.entry(number)
        if entry is None or entry.folder is None or program not in programs():
            return PlainTextResponse("no such result", 404)
        try:
            packed = await queue.export(entry, program, candidate)
        except InputError as error:
            return PlainTextResponse(str(error), 409)
        return _zip(packed, f"{entry.folder.name}-{candidate}.{program}")


def address(entry: Entry, *parts: object) -> str:
    """Where something of an entry's results is found."""
    return "/".join(map(str, (PLACE, entry.number, *parts)))


def programs() -> tuple[str, ...]:
    """Programs that candidates can be exported to."""
    from crystalnet.export import PROGRAMS

    return tuple(PROGRAMS)


def _results(queue: Queue, number: int) -> tuple[Path, set[str]]:
    entry = queue.entry(number)
    if entry is None or entry.folder is None or entry.document is None:
        return Path(), set()
    return entry.folder, {"solution.json", *entry.document["files"]}


def _zip(content: bytes, stem: str) -> Response:
    quoted = "".join(c if c.isascii() and c not in '"\\' and c.isprintable() else "_" for c in stem)
    headers = {"Content-Disposition": f'attachment; filename="{quoted}.zip"'}
    return Response(content, media_type="application/zip", headers=headers)
