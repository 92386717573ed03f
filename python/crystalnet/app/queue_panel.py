"""The queue: files dropped or chosen, and how far each is."""

from __future__ import annotations

from nicegui import ui
from nicegui.events import MultiUploadEventArguments

from crystalnet.app.desk import Desk, Panel, heading, remark
from crystalnet.app.entry import Entry
from crystalnet.xrd.reader import MAX_BYTES


class QueuePanel:
    """Where files are dropped, the folder of the results, and the list of patterns."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        heading("Patterns")
        self.upload = ui.upload(
            multiple=True,
            auto_upload=True,
            max_file_size=MAX_BYTES,
            on_multi_upload=self._add,
            on_rejected=lambda: ui.notify(f"files above {MAX_BYTES // 1_000_000} MB are no powder patterns"),
        ).props("flat bordered")
        pick = f"(e) => getElement({self.upload.id}).$refs.qRef.pickFiles(e)"
        with self.upload.add_slot("header"), ui.element("div").classes("drop"):
            ui.label("Drop pattern files here, or")
            choose = ui.button("choose files").props('no-caps outline dense aria-label="choose files"')
            with choose.on("click", js_handler=pick):  # a screen reader would name the input in it too
                ui.element("q-uploader-add-trigger")
        self.list = _List(desk)
        with ui.row().classes("buttons"):
            ui.button("Solve all", on_click=self._solve_all).props("outline no-caps").mark("solve-all")
        self.out = ui.input("Folder of the results", value=str(desk.queue.out), on_change=self._place).props("dense")
        self.out.classes("wide").mark("out")

    def sync(self) -> None:
        """Bring the list up to date."""
        self.list.sync()

    async def _add(self, event: MultiUploadEventArguments) -> None:
        like, entry = self.desk.chosen, None
        for file in event.files:
            entry = self.desk.queue.add(file.name, await file.read(), like)
        if entry is not None:
            self.desk.choose(entry)
        self.upload.reset()

    def _solve_all(self) -> None:
        self.desk.queue.solve(entry for entry in self.desk.queue.entries if entry.state in ("ready", "failed"))

    def _place(self) -> None:
        self.desk.queue.place(self.out.value or "")


class _List(Panel):
    """A button a pattern; the words of each are set without drawing the list anew."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self._words: list[tuple[Entry, ui.label]] = []

    def sync(self) -> None:
        super().sync()
        for entry, label in self._words:
            words = entry.busy or entry.in_words()
            if label.text != words:
                label.set_text(words)
            label.classes(replace=f"state {entry.state}")

    def shown(self, entry: Entry | None) -> object:
        return entry and entry.number, [each.number for each in self.desk.queue.entries]

    def draw(self, entry: Entry | None) -> None:
        self._words = []
        for each in self.desk.queue.entries:
            with ui.element("div").classes("entry on" if each is entry else "entry"):
                choose = ui.element("button").props("type=button").classes("choose").mark(f"choose-{each.number}")
                choose.props["aria-current"] = "true" if each is entry else "false"
                choose.on("click", lambda each=each: self._choose(each))
                with choose:
                    ui.label(each.name).classes("name")
                    self._words.append((each, ui.label().classes("state")))
                away = ui.button(icon="close", on_click=lambda each=each: self.desk.queue.remove(each))
                away.props(f'flat dense size=sm color=grey-8 aria-label="remove {each.name}"').mark(
                    f"remove-{each.number}"
                )
        if not self._words:
            remark("No pattern yet. Any format that the command line reads will do.")

    def _choose(self, entry: Entry) -> None:
        self.desk.choose(entry)
        self.sync()
