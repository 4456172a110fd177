"""How the whitened coordinates move with the prior's precision, where that is itself a parameter.

With r'b + o under a normal prior of mean 0 and precision D, P has D r r' and d has -D o r. Of the weights on A in
``whitened.py`` all but the term of b b' come through A_w = A + P; those on d are h = L^-T grad_xi. With w = L^-1 r,

    d/dD  =  -1/2 w'w - (grad_xi'w) (r'center + o) - sum over i of w_i xi_i (w_i grad_i / 2 + sum, k < i, of w_k grad_k)
"""

import numba
import numpy as np


@numba.njit(cache=True, nogil=True, error_model="numpy")
def pull_precision(r, o, xi, L, center, grad_xi):
    """Derivative by D of the value and of b's part in the whole, after ``backward``, the value's cotangent being 1.

    Parameters
    ----------
    r, o : ndarray (p,), float
        The direction whose prior has precision D: r'b + o.
    xi, L, center, grad_xi : ndarray (p,), (p, p), (p,), (p,)
        As ``forward`` and ``backward`` leave them.

    Returns
    -------
    float
    """
    p = len(r)
    w = np.empty(p)
    mean, by_mean, below, total = o, 0.0, 0.0, 0.0
    for i in range(p):
        own = r[i]
        for k in range(i):
            own -= L[i, k] * w[k]
        w[i] = own / L[i, i]
        mean += r[i] * center[i]
        by_mean += grad_xi[i] * w[i]
        total -= 0.5 * w[i] ** 2 + w[i] * xi[i] * (0.5 * w[i] * grad_xi[i] + below)
        below += w[i] * grad_xi[i]
    return total - by_mean * mean
