"""Runs `trainer.tensorboard` as a subprocess, and queries it as its pages do."""

import contextlib
import json
import pathlib
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any

from tests import preloaded

ROOT = pathlib.Path(__file__).parents[2]
PATIENCE_SECS = 120


class Board:
    """A running TensorBoard, queried through its HTTP endpoints."""

    def __init__(self, url: str) -> None:
        self.url = url

    def fetch(self, path: str, body: Any = None, **query: str) -> bytes:
        """Returns the response of an endpoint; posts `body` if there is one."""
        address = f"{self.url}data/{path}?{urllib.parse.urlencode(query)}"
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(address, data, headers)
        with urllib.request.urlopen(request, timeout=PATIENCE_SECS) as answer:
            return answer.read()

    def plugin(self, path: str, body: Any = None, **query: str) -> Any:
        """Returns a plugin's response, parsed from JSON."""
        return json.loads(self.fetch(f"plugin/{path}", body, **query))

    def steps(self, plugin: str, run: str, tag: str) -> list[int]:
        """Returns the steps of a tag, in the order that its page shows them."""
        points = self.plugin(plugin, run=run, tag=tag)
        return [
            point["step"] if isinstance(point, dict) else point[1] for point in points
        ]


@contextlib.contextmanager
def serving(*workdirs: pathlib.Path) -> Iterator[Board]:
    """Yields a TensorBoard of these runs, once it lists all of them."""
    command = [preloaded.shared_python(), "-m", "trainer.tensorboard", "--port=0"]
    command += [f"--workdir={','.join(map(str, workdirs))}"]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert "http://127.0.0.1:" in line, process.communicate()
        board = Board(line.split()[-3])
        end = time.monotonic() + PATIENCE_SECS
        # TensorBoard answers before it has read all runs.
        while len(json.loads(board.fetch("runs"))) < 2 * len(workdirs):
            assert time.monotonic() < end, "timed out"
            time.sleep(0.1)
        yield board
    finally:
        process.terminate()
        process.communicate()
