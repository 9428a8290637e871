"""A headless Chromium that is installed already, for tests of pages."""

import contextlib
import os
import shutil

import pytest

ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]


def chromium_path():
    """Where Chromium is; without one the test is skipped, except in CI, where it fails."""
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None and os.environ.get("CI"):
        pytest.fail("CI has no Chromium, and the page must be tested in a real browser: install chromium.")
    if path is None:
        pytest.skip("no Chromium on this machine; install one (apt install chromium) to test the page in it")
    return path


@contextlib.contextmanager
def browser():
    path = chromium_path()
    if os.environ.get("CI"):
        from playwright.sync_api import sync_playwright
    else:
        sync_playwright = pytest.importorskip(
            "playwright.sync_api", reason="playwright drives the browser"
        ).sync_playwright
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        try:
            yield chromium
        finally:
            chromium.close()
