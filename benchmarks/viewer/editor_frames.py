"""Drawing with brush and eraser: the main thread's time for each move, at 3000 x 2500 pixels.

    python -m benchmarks.viewer.editor_frames [--rows 3000] [--columns 2500] [--moves 200]

At 1440 x 900 without a graphics card. A move is one frame of the drawing: 16 ms are 60 a second.
"""

from __future__ import annotations

import argparse
import math

from benchmarks.viewer.page_moves import case_page, costs, summary

LIMIT = 16.0  # ms


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=3000)
    parser.add_argument("--columns", type=int, default=2500)
    parser.add_argument("--moves", type=int, default=200)
    given = parser.parse_args()
    with case_page(given.rows, given.columns) as (browser, page):
        page.keyboard.press("e")
        page.wait_for_selector("#film[data-editing=yes]")
        for tool in ("brush", "eraser"):
            page.keyboard.press(f"Shift+{tool[0].upper()}")
            points = [
                (560 + 150 * math.sin(k / 7), 440 + 220 * math.cos(k / 11))
                for k in range(given.moves + 2)
            ]
            print(
                summary(
                    f"{tool}, {given.rows} x {given.columns}", costs(browser, page, points), LIMIT
                )
            )


if __name__ == "__main__":
    main()
