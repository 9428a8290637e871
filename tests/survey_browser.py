"""A headless Chromium that is installed already, and the rules of axe-core, for tests of pages."""

import contextlib
import os
import shutil
import subprocess

import pytest

ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
AXE = "axe-core@4.10.3"  # accessibility rules, MPL-2.0; fetched, since they are not part of this project


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


def axe_source(folder):
    """The script of axe-core, from npm; without npm or its registry the test is skipped."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("no npm on this machine; install it (apt install npm) to test pages with axe-core")
    quiet = ["--no-save", "--no-audit", "--no-fund", "--ignore-scripts", "--fetch-retries=0", "--fetch-timeout=20000"]
    try:
        done = subprocess.run([npm, "install", *quiet, "--prefix", folder, AXE], capture_output=True, timeout=60)
    except subprocess.TimeoutExpired:
        pytest.skip(f"npm could not fetch {AXE} in 60 s")
    if done.returncode:
        pytest.skip(f"npm could not fetch {AXE}: {done.stderr.decode(errors='replace').strip()[:200]}")
    return (folder / "node_modules" / "axe-core" / "axe.min.js").read_text(encoding="utf-8")
