"""Window and level by drag: the main thread's time for each move, at 3000 x 2500 pixels.

    python -m benchmarks.viewer.window_moves [--rows 3000] [--columns 2500] [--moves 300]

At 1440 x 900 without a graphics card; the limit is 8 ms by the clock for 95 of 100 moves. The
method stands in benchmarks/viewer/page_moves.py. On a busy machine the clock also counts the
waiting for a processor: the thread's own time beside it tells how much.
"""

from __future__ import annotations

import argparse
import math

from benchmarks.viewer.page_moves import case_page, costs, summary

LIMIT = 8.0  # ms


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=3000)
    parser.add_argument("--columns", type=int, default=2500)
    parser.add_argument("--moves", type=int, default=300)
    given = parser.parse_args()
    with case_page(given.rows, given.columns) as (browser, page):
        page.keyboard.press("w")
        points = [
            (560 + 180 * math.sin(k / 9), 440 + 140 * math.cos(k / 13))
            for k in range(given.moves + 2)
        ]
        found = costs(browser, page, points)
    print(summary(f"window, {given.rows} x {given.columns}", found, LIMIT))


if __name__ == "__main__":
    main()
