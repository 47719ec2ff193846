"""A map of samples by what the network's head reads of them.

In: features. Out: two coordinates a sample, those of samples with like features close to each other.
"""

import numpy as np
import torch

__all__ = ["MOST_EMBEDDED", "Projector", "embed"]

MOST_EMBEDDED = 5_000
"""Samples on a map; more are a solid patch of colour, and take minutes."""
_MOST_FEATURES = 1_024
_COMPONENTS = 50
_PERPLEXITY = 30.0


class Projector:
    """Shortens features where a sample has tens of thousands (new1, mod4), so that those of all fit the memory.

    By a fixed random projection, which keeps distances to some percent (Johnson and Lindenstrauss).
    """

    def __init__(self) -> None:
        self._matrix: torch.Tensor | None = None

    def __call__(self, features: torch.Tensor) -> torch.Tensor:
        """Return float ``[N, at most 1024]`` of float ``[N, num_features]``, on the CPU."""
        count = features.shape[1]
        if count <= _MOST_FEATURES:
            return features.float().cpu()
        if self._matrix is None:
            drawn = torch.randn(count, _MOST_FEATURES, generator=torch.Generator().manual_seed(0))
            self._matrix = (drawn / _MOST_FEATURES**0.5).to(features.device)
        return (features.float() @ self._matrix).cpu()


def embed(features: torch.Tensor) -> np.ndarray:
    """Return a t-SNE map, float32 ``[N, 2]``, of features float ``[N, num_features]``; the same on every call.

    It is made of the first 50 principal components, and begins with the first two of them.
    """
    from sklearn.manifold import TSNE

    centred = features - features.mean(0)
    components = min(_COMPONENTS, *centred.shape)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        left, strengths, _ = torch.pca_lowrank(centred, components, center=False)
    points = (left * strengths).numpy()
    if len(points) < 4 or components < 2:
        return np.pad(points[:, :2], ((0, 0), (0, max(0, 2 - points.shape[1]))))
    perplexity = min(_PERPLEXITY, (len(points) - 1) / 3)
    found: np.ndarray = TSNE(perplexity=perplexity, init="pca", random_state=0).fit_transform(points)
    return found
