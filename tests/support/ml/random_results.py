"""Results of cases drawn at random: a third positive, most of them found."""

import numpy as np

from ml.metrics.measures import Results


def random_results(count: int, seed: int) -> Results:
    random = np.random.default_rng(seed)
    positive = random.random(count) < 0.3
    truth = positive * random.integers(50, 500, count)
    predicted = np.where(random.random(count) < 0.85, truth, 0)
    return Results(
        hits=(predicted * random.uniform(0.4, 1, count)).astype(np.int64),
        predicted=predicted.astype(np.int64),
        truth=truth.astype(np.int64),
        pixels=np.full(count, 4096),
        probability=np.clip(0.25 + 0.4 * positive + random.normal(0, 0.15, count), 0, 1),
        called=predicted > 0,
    )
