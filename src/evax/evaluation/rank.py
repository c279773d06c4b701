"""How many directions a set of features spans."""

import numpy as np
from jaxtyping import Float


def rankme(features: Float[np.ndarray, "N D"], epsilon: float = 1e-7) -> float:
    """RankMe, the exponential of the entropy of the normalised singular values, in [1, min(N, D)].

    Garrido et al. 2023, equation 1: features are not centred, and epsilon is added after normalising. It is
    0 for features that are all zero, the only ones without a direction.
    """
    singular_values = np.linalg.svd(features.astype(np.float64), compute_uv=False)
    total = singular_values.sum()
    if total == 0:
        return 0.0
    share = singular_values / total + epsilon
    return float(np.exp(-(share * np.log(share)).sum()))
