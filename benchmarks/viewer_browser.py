"""The page in Chromium without a graphics card: when something was on screen, and how smoothly it moves."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

SCREEN = {"width": 1440, "height": 900}


@contextmanager
def chromium() -> Iterator[Any]:
    """Start Chromium without window and graphics card."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        made = driver.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox", "--disable-gpu"]
        )
        yield made
        made.close()


MARKS = """() => Object.fromEntries(performance.getEntriesByType('mark').map((m) => [m.name, m.startTime]))"""


def opened_at(browser: Any, url: str, mark: str) -> float:
    """Open an address in a browser that knows nothing of it, and return milliseconds until a mark."""
    context = browser.new_context(viewport=SCREEN)
    page = context.new_page()
    page.goto(url)
    page.wait_for_function(f"() => performance.getEntriesByName('{mark}').length > 0", polling=20)
    found = float(page.evaluate(MARKS)[mark])
    context.close()
    return found


FRAMES = """() => {
    const times = [];
    window.frames_on = true;
    const tick = (now) => { times.push(now); if (window.frames_on) requestAnimationFrame(tick); };
    requestAnimationFrame(tick);
    window.frames_done = () => { window.frames_on = false; return times; };
}"""


def smoothness(page: Any, act: Callable[[Any], None]) -> dict[str, float]:
    """Return frames a second while something is done, and the slowest twentieth of frames."""
    page.evaluate(FRAMES)
    act(page)
    times = np.diff(page.evaluate("() => window.frames_done()"))
    return {"frames_per_s": float(1000 / times.mean()), "p95_ms": float(np.percentile(times, 95))}


def pan(page: Any) -> None:
    """Drag the slide to and fro for two seconds, sixty movements a second."""
    page.mouse.move(720, 450)
    page.mouse.down()
    began = time.perf_counter()
    step = 0
    while (now := time.perf_counter() - began) < 2:
        page.mouse.move(720 + 260 * np.sin(now * 2.4), 450 + 160 * np.sin(now * 3.1))
        step += 1
        time.sleep(max(0, step / 60 - (time.perf_counter() - began)))
    page.mouse.up()


def zoom(page: Any) -> None:
    """Turn the wheel to and fro for two seconds."""
    page.mouse.move(720, 450)
    began = time.perf_counter()
    turns = 0
    while time.perf_counter() - began < 2:
        page.mouse.wheel(0, -120 if turns % 8 < 4 else 120)
        turns += 1
        time.sleep(0.1)
