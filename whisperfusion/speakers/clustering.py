"""Agglomerative clustering of speaker embeddings.

Average linkage: the two clusters whose members are the most alike on average are joined, until no
two reach the threshold. Of unit vectors the mean of all pairs of cosines is the product of the two
sums over both counts, so a cluster is its sum and its count.
"""

from __future__ import annotations

import numpy as np

from whisperfusion.audio import Samples


def clustered(vectors: Samples, weights: Samples, threshold: float, most: int = 0) -> list[int]:
    """The cluster of each of `vectors`, float32 [n, size], counted from 0 in order of appearance.

    `weights` [n]: how much each counts, such as its seconds. `most` clusters at most, whatever the
    threshold; 0 = any number. Costs n² of memory and time n² to n³: keep n to about 1,000.
    """
    count = len(vectors)
    if not count:
        return []
    sums = vectors.astype(np.float64) * weights[:, None]
    sizes = weights.astype(np.float64)
    alike = sums @ sums.T / np.outer(sizes, sizes)
    np.fill_diagonal(alike, -np.inf)
    owner, left = np.arange(count), count
    while left > 1:
        first, second = sorted(divmod(int(alike.argmax()), count))
        if alike[first, second] < threshold and not 0 < most < left:
            break
        sums[first] += sums[second]
        sizes[first] += sizes[second]
        owner[owner == second] = first
        alike[second, :] = alike[:, second] = -np.inf
        gone = np.isinf(alike[first])
        row = sums @ sums[first] / (sizes * sizes[first])
        row[gone] = -np.inf
        row[first] = -np.inf
        alike[first, :] = alike[:, first] = row
        left -= 1
    order: dict[int, int] = {}
    return [order.setdefault(int(one), len(order)) for one in owner]


def centroids(vectors: Samples, weights: Samples, labels: list[int]) -> Samples:
    """Unit vectors, float32 [clusters, size]: the direction of each cluster."""
    sums = np.zeros((max(labels) + 1, vectors.shape[1]), np.float32)
    np.add.at(sums, labels, vectors * weights[:, None])
    return unit(sums)


def unit(vectors: Samples) -> Samples:
    """Each row of length 1."""
    found: Samples = vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)
    return found
