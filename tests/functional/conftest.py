"""What several journeys start from."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from patience import PATIENCE


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a real server."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    command = [sys.executable, "-c", "from crystalnet.cli import main; main()", "app", "--port", str(port)]
    alone = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}  # NiceGUI heeds it
    folder, temporary = tmp_path_factory.mktemp("app"), tmp_path_factory.mktemp("temporary")
    alone["TMPDIR"] = str(temporary)
    with subprocess.Popen([*command, "--no-browser"], cwd=folder, env=alone) as process:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            assert process.poll() is None, "the server has ended"
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.1)
        yield port
        process.send_signal(signal.SIGINT)  # Ctrl-C
        assert process.wait(20) == 130
        assert not list(temporary.iterdir()), "copies of the files are left behind"
