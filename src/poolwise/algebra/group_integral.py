"""Density of the rows of a group with its effects integrated out, for many draws: adaptive quadrature.

With effects u = T e, e ~ N(0, I), mode e* and curvature H = C^-T C^-1 of the group's log density times that of e, and
nodes z_k and weights w_k of the product Gauss-Hermite rule,

    integral f(y_j | T e) phi(e) de  =  pi^(-q/2) |C| sum_k w_k exp(z_k'z_k) f(y_j | T e_k) exp(-e_k'e_k / 2),
    e_k = e* + sqrt(2) C z_k

References
----------
Pinheiro & Bates (1995), Journal of Computational and Graphical Statistics 4, 12-35.
"""

import math
import os
from concurrent.futures import ThreadPoolExecutor
from itertools import product

import numba
import numpy as np
from numpy.typing import NDArray

from poolwise.algebra.likelihoods import own_density, prepare, row_density

Array = NDArray[np.float64]
# Nodes a dimension: adaptive rules converge fast, and cost their power.
NODES = {1: 15, 2: 9, 3: 7}
# The rule is centred where Newton stops: a decrement of this size moves nothing that 15 nodes would notice.
STEPS, SMALL = 50, 1e-6


def group_log_densities(
    code: int,
    link: int,
    y: Array,
    trials: Array,
    weight: Array,
    constant: Array,
    base: Array,
    own: Array,
    Z: Array,
    T: Array,
    codes: NDArray[np.int64],
    J: int,
) -> Array:
    """Log density (D, J) of the rows of each group under D draws of the parameters.

    Parameters
    ----------
    code, link : int
        From :func:`.density_code`.
    y, trials, weight, constant : ndarray (n,)
        As :func:`.row_density` takes them, how often a row counts, and :func:`.constants`.
    base : ndarray (D, n)
        Linear predictor without the group's effects.
    own : ndarray (D, k + 1)
        The family's further parameters, a spare place behind them.
    Z : ndarray (n, q)
        Columns of the effects, at most three.
    T : ndarray (D, q, q)
        Root of the group covariance.
    codes : ndarray of int (n,)
        Group of each row.
    J : int
        Number of groups.

    Returns
    -------
    ndarray
        0 for a group without rows.
    """
    q = Z.shape[1]
    z, w = np.polynomial.hermite.hermgauss(NODES[q])
    nodes = np.array(list(product(z, repeat=q)))
    logs = np.array([math.log(math.prod(one)) for one in product(w, repeat=q)]) + (nodes**2).sum(axis=1)
    order = np.argsort(codes, kind="stable")
    starts = np.searchsorted(codes[order], np.arange(J + 1))
    rows = [np.ascontiguousarray(part[order], dtype=np.float64) for part in (y, trials, weight, constant, Z)]
    out = np.zeros((len(base), J))
    base = np.ascontiguousarray(base[:, order])
    own = np.array(own, dtype=np.float64)

    def run(draws: slice) -> None:
        _integrate(code, link, *rows, base[draws], own[draws], T[draws], starts, nodes, logs, out[draws])

    cores = os.cpu_count() or 1
    share = max(1, -(-len(base) // cores))
    with ThreadPoolExecutor(cores) as pool:
        list(pool.map(run, [slice(start, start + share) for start in range(0, len(base), share)]))
    return out


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _integrate(code, link, y, trials, weight, constant, Z, base, own, T, starts, nodes, logs, out):
    q, J = Z.shape[1], out.shape[1]
    spare, one = np.zeros(own.shape[1]), np.ones(1)
    A = np.empty_like(Z)
    e, trial, slope, step = np.empty(q), np.empty(q), np.empty(q), np.empty(q)
    H, L = np.empty((q, q)), np.zeros((q, q))
    terms = np.empty(len(logs))
    for d in range(out.shape[0]):
        prepare(code, own[d])
        A[:, :] = Z @ T[d]
        at = base[d]
        for j in range(J):
            low, high = starts[j], starts[j + 1]
            if low == high:
                continue
            fixed = 0.0
            for i in range(low, high):
                fixed += weight[i] * (constant[i] + own_density(code, own[d], spare, y[i : i + 1], one))
            e[:] = 0.0
            value = _density(code, link, y, trials, weight, at, A, own[d], spare, low, high, e, slope, H)
            for _ in range(STEPS):
                _factor(H, L)
                _solve(L, slope, step)
                gain, length = 0.0, 1.0
                for m in range(q):
                    gain += step[m] * slope[m]
                found = value
                while length > 1e-6:
                    for m in range(q):
                        trial[m] = e[m] + length * step[m]
                    found = _density(
                        code, link, y, trials, weight, base[d], A, own[d], spare, low, high, trial, slope, H
                    )
                    if found >= value:
                        break
                    length *= 0.5
                e[:] = trial
                value = found
                if gain < SMALL:
                    break
            _factor(H, L)
            top = -math.inf
            for k in range(len(logs)):
                # C C' = H^-1 with C = L^-T.
                _solve_upper(L, nodes[k], trial)
                total = logs[k]
                for m in range(q):
                    trial[m] = e[m] + math.sqrt(2.0) * trial[m]
                    total -= 0.5 * trial[m] ** 2
                for i in range(low, high):
                    eta = at[i]
                    for m in range(q):
                        eta += A[i, m] * trial[m]
                    total += weight[i] * row_density(code, link, y[i], trials[i], eta, own[d], spare, 0.0, False)[0]
                terms[k] = total
                top = max(top, total)
            area = 0.0
            for k in range(len(logs)):
                area += math.exp(terms[k] - top)
            for m in range(q):
                fixed -= math.log(L[m, m])
            out[d, j] = fixed + top + math.log(area) - 0.5 * q * math.log(math.pi)


# At most three effects: LAPACK's calls would cost more than their work.
@numba.njit(cache=True, nogil=True, error_model="numpy")
def _factor(H, L):
    """Lower Cholesky factor of a positive definite H."""
    q = len(H)
    for a in range(q):
        for b in range(a + 1):
            total = H[a, b]
            for k in range(b):
                total -= L[a, k] * L[b, k]
            L[a, b] = math.sqrt(total) if a == b else total / L[b, b]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _solve_upper(L, right, x):
    """X becomes L^-T right."""
    q = len(right)
    for a in range(q - 1, -1, -1):
        x[a] = right[a]
        for k in range(a + 1, q):
            x[a] -= L[k, a] * x[k]
        x[a] /= L[a, a]


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _solve(L, right, x):
    """X becomes (L L')^-1 right."""
    q = len(right)
    for a in range(q):
        x[a] = right[a]
        for k in range(a):
            x[a] -= L[a, k] * x[k]
        x[a] /= L[a, a]
    _solve_upper(L, x, x)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _density(code, link, y, trials, weight, base, A, own, spare, low, high, e, slope, H):
    """Log density of a group's rows and of e, up to a constant; fills its slope and (expected) curvature."""
    q = len(e)
    total = 0.0
    for m in range(q):
        slope[m] = -e[m]
        total -= 0.5 * e[m] ** 2
        for k in range(q):
            H[m, k] = 1.0 if m == k else 0.0
    for i in range(low, high):
        eta = base[i]
        for m in range(q):
            eta += A[i, m] * e[m]
        value, by_eta, information = row_density(code, link, y[i], trials[i], eta, own, spare, 0.0, True)
        total += weight[i] * value
        for m in range(q):
            slope[m] += weight[i] * by_eta * A[i, m]
            for k in range(q):
                H[m, k] += weight[i] * information * A[i, m] * A[i, k]
    return total
