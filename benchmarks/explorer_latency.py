"""The explorer in headless Chromium: slider to painted picture, the page's start, the map, and five people at once.

    python benchmarks/explorer_latency.py [--seconds 10] [--people 5] [--runs 3] [--pages 50]

A real drag of the mouse over a slider of the packaged model, a move every 16 ms. A picture counts as painted when the browser
begins the second frame after it was put in. Times are from the move that asked for the picture; moves that a newer one
overtook ask for none. The peer is the same page's own way without `page.js`: every move sent, every answer shown, in turn.
"""

import argparse
import asyncio
import os
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from tools.browser import CHROMIUM, DRIVER, Browser, chromium, server
from tools.visitor import Visitor

STEP = 0.016
NAIVE = """
ganvas.drag = function (emit, value) { this.movedAt = performance.now(); (this.queue ??= []).push(this.movedAt); emit(value); };
ganvas.show = function (url) {
  const image = this.place("canvas"), askedAt = this.queue?.shift();
  image.src = url;
  image.decode().catch(() => {}).then(() => requestAnimationFrame(() => { this.painted += 1; requestAnimationFrame(() => {
    this.paintedAt = performance.now(); if (askedAt) this.times.push(this.paintedAt - askedAt); }); }));
};
"""


def sweep(seconds: float) -> list[int]:
    """Moves back and forth."""
    count, way = int(seconds / STEP), []
    for i in range(count):
        way.append(3 if (i // 45) % 2 == 0 else -3)
    return way


def drag(page: Browser, name: str, seconds: float) -> tuple[np.ndarray, float, int]:
    """Times of a drag in ms, how long after the last move the last picture came, and how many moves there were."""
    page.script("ganvas.times = []")
    page.drag(name, sweep(seconds))
    moved = page.script("return ganvas.movedAt")
    # The picture of the last place: nothing is waiting and nothing is on its way.
    page.wait(lambda: page.script("return !ganvas.waiting && !ganvas.inFlight && !(ganvas.queue?.length)"))
    time.sleep(0.1)
    last = page.script("return ganvas.paintedAt") - moved
    return np.array(page.script("return ganvas.times")), last, int(seconds / STEP)


def row(what: str, times: np.ndarray, last: float, moves: int) -> str:
    p50, p95 = np.percentile(times, [50, 95])
    return f"| {what} | {moves} | {len(times)} | {p50:.0f} ms | {p95:.0f} ms | {times.max():.0f} ms | {last:.0f} ms |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--people", type=int, default=5)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--pages", type=int, default=0, help="only open so many at once, without a browser")
    options = parser.parse_args()
    if options.pages:
        with tempfile.TemporaryDirectory() as folder, server(cache=Path(folder)) as (url, _):
            asyncio.run(opened(url, 1))  # draws the map, finds the directions
            load = os.getloadavg()[0]
            first, last = asyncio.run(opened(url, options.pages))
            print(
                f"{options.pages} pages at once, load {load:.1f} before: ready after {first:.1f} to {last:.1f} s"
            )
        return
    if not (CHROMIUM and DRIVER):
        raise SystemExit("No Chromium with its driver here: apt-get install chromium chromium-driver")
    cores = len(os.sched_getaffinity(0))
    print(f"{cores} cores, torch {torch.__version__}, packaged model")
    with tempfile.TemporaryDirectory() as folder, server(cache=Path(folder)) as (url, _), chromium() as page:
        start = time.perf_counter()
        page.driver.get(url)
        page.wait(lambda: page.script("return document.body.dataset.ready === 'yes' && ganvas.painted > 0"))
        first = page.script("return ganvas.readyAt")
        page.wait(lambda: "click to go" in page.text("map-words"))
        drawn = time.perf_counter() - start
        readies, cached = [], []
        for _ in range(options.runs):
            page.settled()
            start = time.perf_counter()
            page.driver.get(url)
            page.wait(
                lambda: page.script("return document.body.dataset.ready === 'yes' && ganvas.painted > 0")
            )
            readies.append(page.script("return ganvas.readyAt"))
            page.wait(lambda: page.script("return Boolean(document.querySelector('.g-map canvas'))"))
            cached.append(time.perf_counter() - start)
        print("\n| | measured | target |\n| --- | --- | --- |")
        print(f"| page ready, first visit | {first / 1000:.2f} s | 2 s |")
        print(f"| page ready, later ({options.runs} visits) | {np.mean(readies) / 1000:.2f} s | 2 s |")
        print(f"| map of 5,000 samples, first time, from the address | {drawn:.1f} s | 15 s |")
        print(f"| map, later, from the address | {np.mean(cached):.1f} s | at once |")
        head = "| drag | moves | pictures | p50 | p95 | slowest | last picture after the last move |"
        print(f"\n{head}\n| --- | --- | --- | --- | --- | --- | --- |")
        print("| target | | | 60 ms | 120 ms | | 200 ms |")
        for i in range(options.runs):
            page.settled()
            print(
                row(f"{options.seconds:g} s, run {i + 1}", *drag(page, f"pca-{i}", options.seconds)),
                flush=True,
            )
        page.open(url)
        page.script(NAIVE)
        print(
            row(f"{options.seconds:g} s, every move sent", *drag(page, "pca-0", options.seconds)), flush=True
        )
        crowd(url, options.people, options.seconds)


async def opened(url: str, count: int) -> tuple[float, float]:
    """Seconds until the first and until the last of some pages that open at once have their picture."""
    start = time.monotonic()

    async def one() -> float:
        visitor = await Visitor(url).open()
        await visitor.until("ganvas.ready", 600)
        ready = time.monotonic() - start
        if count == 1:
            await visitor.until("click to go", 600)
        await visitor.leave()
        return ready

    found = await asyncio.gather(*[one() for _ in range(count)])
    return min(found), max(found)


def crowd(url: str, people: int, seconds: float) -> None:
    """Several browsers on one server, all dragging."""
    found: list[tuple[np.ndarray, float, int]] = []
    complaints: list[str] = []

    def one(which: int) -> None:
        with chromium() as page:
            page.open(url)
            gate.wait(120)
            found.append(drag(page, f"pca-{which % 5}", seconds))
            page.settled()
            complaints.extend(page.errors())

    gate = threading.Barrier(people)
    threads = [threading.Thread(target=one, args=(i,)) for i in range(people)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if len(found) < people:
        raise SystemExit(f"{people - len(found)} of {people} browsers failed")
    times, last, moves = (
        np.concatenate([f[0] for f in found]),
        max(f[1] for f in found),
        sum(f[2] for f in found),
    )
    print(row(f"{people} people at once, {people} browsers on these cores too", times, last, moves))
    print(f"\nErrors in the browsers: {len(complaints)}")
    for each in complaints[:5]:
        print(each[:200])


if __name__ == "__main__":
    main()
