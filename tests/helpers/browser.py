"""A page in headless Chromium, driven through chromedriver's HTTP interface."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests

ARGUMENTS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"]


class Page:
    """An open page of a session."""

    def __init__(self, session: str) -> None:
        self._session = session

    def ask(self, script: str, *args: Any) -> Any:
        """What a script returns in the page."""
        return self._post("execute/sync", script=script, args=list(args))

    def errors(self) -> list[str]:
        """What the console reported as an error since the last call."""
        return [line["message"] for line in self._post("se/log", type="browser") if line["level"] == "SEVERE"]

    def open(self, path: Path) -> None:
        """Load a file."""
        self._post("url", url=path.resolve().as_uri())

    def prefer(self, scheme: str) -> None:
        """Ask for a "light" or a "dark" page."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self._post("goog/cdp/execute", cmd="Emulation.setEmulatedMedia", params={"features": features})

    def _post(self, command: str, **body: Any) -> Any:
        reply = requests.post(f"{self._session}/{command}", json=body, timeout=60)
        assert reply.ok, reply.text
        return reply.json()["value"]


@contextmanager
def chromium(width: int, height: int = 844) -> Iterator[Page]:
    """A browser with a window of so many CSS pixels."""
    options: dict[str, Any] = {"args": ARGUMENTS}
    options["mobileEmulation"] = {"deviceMetrics": {"width": width, "height": height, "pixelRatio": 1}}
    wanted = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
    with subprocess.Popen(["chromedriver", "--port=0"], stdout=subprocess.PIPE, text=True) as driver:
        try:
            assert driver.stdout is not None
            started = re.compile(r"started successfully on port (\d+)")
            port = next(match[1] for line in driver.stdout if (match := started.search(line)))
            base = f"http://127.0.0.1:{port}/session"
            reply = requests.post(base, json={"capabilities": {"alwaysMatch": wanted}}, timeout=60)
            assert reply.ok, reply.text
            session = f"{base}/{reply.json()['value']['sessionId']}"
            yield Page(session)
            requests.delete(session, timeout=60)
        finally:
            driver.terminate()
