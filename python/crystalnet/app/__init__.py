"""`crystalnet app`: what `solve` and `index` do, as a page in the user's own browser.

NiceGUI draws it: 104 MB and 1.6 s to the first page, where Panel took 368 MB and 2.2 s, and FastAPI with pages of our
own 19 MB and 1.0 s; all three work without internet, but only NiceGUI has a simulated user for tests and needs no
JavaScript of ours. `request`, `entry`, `queue`, `worker` and `work` know nothing of it; `page` and its panels do.
"""

from __future__ import annotations

from importlib.util import find_spec

from crystalnet.records import InputError


def start(port: int, browser: bool) -> None:
    """Serve the page until Ctrl-C. InputError where NiceGUI is not installed or the port cannot be used."""
    if find_spec("nicegui") is None:
        raise InputError("the page needs NiceGUI, which is not installed: pip install 'crystalnet[app]'")
    from crystalnet.app.server import serve

    serve(port, browser)
