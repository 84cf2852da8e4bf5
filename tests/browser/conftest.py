"""A real Chromium without a window, in a profile of its own; the Makefile installs it."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

from edgecnn.report.page import render
from tests.made_up import made_up_run

# Debian's, else Ubuntu's.
BROWSER = next((path for path in ("/usr/bin/chromium", "/usr/bin/chromium-browser") if Path(path).exists()), "")
DRIVER = "/usr/bin/chromedriver"
FLAGS = (
    "--headless",
    "--no-sandbox",  # tests run as root
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-quic",
)
DESKTOP, PHONE = (1280, 900), (360, 740)
Save = Callable[[str], Path]


class Viewer:
    """A browser, and what it did with the page that it shows."""

    def __init__(self, driver: Chrome) -> None:
        self.driver = driver

    def show(
        self, page: Path, size: tuple[int, int] = DESKTOP, dark: bool = False, motion: str = "no-preference"
    ) -> None:
        """Opens a page as a device would that prefers so."""
        self.devtools(
            "Emulation.setDeviceMetricsOverride",
            width=size[0],
            height=size[1],
            deviceScaleFactor=1,
            mobile=size == PHONE,
        )
        features = {"prefers-color-scheme": "dark" if dark else "light", "prefers-reduced-motion": motion}
        self.devtools(
            "Emulation.setEmulatedMedia", features=[{"name": name, "value": value} for name, value in features.items()]
        )
        self.complaints(), self.requests()  # of the page before
        self.driver.get(page.as_uri())

    def devtools(self, method: str, **arguments: Any) -> Any:
        return self.driver.execute_cdp_cmd(method, arguments)

    def run(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def _log(self, kind: str) -> list[dict[str, Any]]:
        return self.driver.get_log(kind)  # type: ignore[no-any-return, no-untyped-call]  # selenium types it not

    def complaints(self) -> list[str]:
        """What the console said since it was last asked."""
        return [entry["message"] for entry in self._log("browser")]

    def requests(self) -> list[str]:
        """Addresses that the page asked for since this was last asked."""
        events = [json.loads(entry["message"])["message"] for entry in self._log("performance")]
        return [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]


@pytest.fixture(scope="session")
def viewer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Viewer]:
    options = ChromeOptions()
    options.binary_location = BROWSER
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = Chrome(options=options, service=Service(DRIVER))
    driver.get("about:blank")  # or else its own first page would still be loading beside a test's
    yield Viewer(driver)
    driver.quit()


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Save:
    """``saved(html)``: the file of a page."""
    folder = tmp_path_factory.mktemp("pages")

    def save(html: str) -> Path:
        path = folder / f"{len(list(folder.iterdir()))}.html"
        path.write_text(html, "utf-8")
        return path

    return save


@pytest.fixture(scope="session")
def page(saved: Save) -> Path:
    return saved(render([("run.json", made_up_run())]))


@pytest.fixture(scope="session")
def two(saved: Save) -> Path:
    new = made_up_run({"small-openvino-int8": 1.5}, seed=1, rows={"small-onnx-fp32": None})
    return saved(render([("old.json", made_up_run()), ("new.json", new)]))


def rows(viewer: Viewer) -> list[WebElement]:
    return viewer.driver.find_elements(By.CSS_SELECTOR, "table.rows tbody tr")


def names(viewer: Viewer) -> list[str]:
    return [
        found.text.split("\n")[-1] for found in viewer.driver.find_elements(By.CSS_SELECTOR, ".rows tbody th button")
    ]


def details(viewer: Viewer) -> list[str]:
    """Headings of the details that can be seen."""
    return [found.text for found in viewer.driver.find_elements(By.CSS_SELECTOR, ".detail h2") if found.is_displayed()]


def head(viewer: Viewer, title: str) -> WebElement:
    heads = viewer.driver.find_elements(By.CSS_SELECTOR, ".rows thead th")
    return next(found for found in heads if found.text.split("\n")[0].split()[0] == title)
