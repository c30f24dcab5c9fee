"""What the tests share: the site in a real browser, built once from the committed outputs and opened in Debian's chromium."""

import contextlib
import functools
import http.server
import os
import re
import shutil
import threading
from pathlib import Path

import pytest
from committed import BOOK

from dlnutils.press.site import build

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """Folder of the built site; DLN_SITE names one that is built already."""
    if os.environ.get("DLN_SITE"):
        return Path(os.environ["DLN_SITE"]).resolve()
    return build(BOOK, committed=True, output=tmp_path_factory.mktemp("site")).parent


@contextlib.contextmanager
def serving(folder):
    """Serve a folder; its address."""
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture(scope="session")
def serve():
    """A context that serves a folder, for tests that build a site of their own."""
    return serving


@pytest.fixture(scope="session")
def address(site):
    """Where the site is served."""
    with serving(site) as where:
        yield where


@pytest.fixture(scope="session")
def browser():
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine: nothing is checked in a browser")
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is missing: make browser-test installs it")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser):
    """A fresh page of a desktop's size."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    yield context.new_page()
    context.close()


@pytest.fixture
def faultless(page):
    """A fresh page; the test fails at its end if the console held an error or a warning."""
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if message.type in ("error", "warning") else None)
    yield page
    assert not errors


@pytest.fixture(scope="module")
def opened_once(browser):
    """Open an address for those who only ask its scripts for numbers, and wait for a condition: `page.evaluate`."""
    context = browser.new_context()

    def ask(where, ready):
        page = context.new_page()
        page.goto(where)
        page.wait_for_function(ready)
        return page.evaluate
    yield ask
    context.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Keep a picture of the page that a test failed on, and what the test said, in _build/browser."""
    report = yield
    if report.when == "call" and report.failed:
        folder = BOOK / "_build" / "browser"
        folder.mkdir(parents=True, exist_ok=True)
        name = re.sub(r"[^\w.-]+", "-", item.nodeid.split("::", 1)[1]).strip("-")
        for value in item.funcargs.values():
            shown = getattr(value, "page", value)          # a page, or an object that has one
            if hasattr(shown, "screenshot") and hasattr(shown, "url"):
                (folder / f"{name}.txt").write_text(f"{shown.url}\n\n{report.longreprtext}\n", encoding="utf-8")
                shown.screenshot(path=folder / f"{name}.png")
    return report
