"""REML and ML of one grouping factor in one compiled call: what a bootstrap repeats a thousand times.

The criterion of ``algebra/profiled.py`` and its gradient as a numba kernel, minimised by BFGS. The criterion is even in
a diagonal element of theta, in company with its column, so the signs are left free: no bounds, and an optimum with a
diagonal element of 0 is a smooth interior one.

References
----------
Bates, Maechler, Bolker & Walker (2015), equations 34, 40 and 41; Nocedal & Wright (2006), Numerical Optimization,
section 6.1, for BFGS.
"""

import math

import numba
import numpy as np

from poolwise.algebra.crossproducts import Array, CrossProducts
from poolwise.algebra.groups import cholesky_inverse, lower_product
from poolwise.algebra.theta import BlockStructure

# Descent that the quadratic model still promises, on the scale of the criterion.
PROMISED = 1e-11
MOST_ITERATIONS = 300
# A start on the boundary would stay there, where the criterion is stationary.
LEAST_START = 0.05
# A diagonal element of theta below this is 0.
ZERO = 1e-5


@numba.njit(cache=True, nogil=True)
def _criterion(theta, rows, columns, reml, power, n, XtX, Xty, yty, ZtZ, ZtX, Zty, gradient, b):
    """Criterion without its constant log weights, filling gradient and b; returns it and s, NaN where it fails."""
    J, q, p = ZtX.shape
    m = len(theta)
    T = np.zeros((q, q))
    for k in range(m):
        T[rows[k], columns[k]] = theta[k]
    gram = np.empty((p + 1, p + 1))
    gram[:p, :p], gram[:p, p], gram[p, :p], gram[p, p] = XtX, Xty, Xty, yty
    by_T = np.zeros((q, q))
    E, V = np.empty((J, q, p + 1)), np.empty((J, q, p + 1))  # Z'V^-1 (X, y) and M^-1 Lambda'Z'(X, y)
    ST, M, L, inverse, W = np.empty((q, q)), np.empty((q, q)), np.empty((q, q)), np.empty((q, q)), np.empty((q, p + 1))
    value = 0.0
    for j in range(J):
        lower_product(ZtZ[j], T, ST)
        for i in range(q):
            for c in range(i + 1):
                total = 1.0 if i == c else 0.0
                for k in range(i, q):
                    total += T[k, i] * ST[k, c]
                M[i, c] = total
            for a in range(p + 1):
                total = 0.0
                for k in range(i, q):
                    total += T[k, i] * (ZtX[j, k, a] if a < p else Zty[j, k])
                W[i, a] = total
        value += cholesky_inverse(M, L, inverse)
        for i in range(q):
            for a in range(p + 1):
                total = 0.0
                for k in range(q):
                    total += inverse[i, k] * W[k, a]
                V[j, i, a] = total
        for i in range(q):
            for a in range(p + 1):
                total = ZtX[j, i, a] if a < p else Zty[j, i]
                for k in range(q):
                    total -= ST[i, k] * V[j, k, a]
                E[j, i, a] = total
            for c in range(i + 1):
                total = 0.0
                for k in range(q):
                    total += ST[i, k] * inverse[k, c]
                by_T[i, c] += 2 * total
        for a in range(p + 1):
            for c in range(a + 1):
                total = 0.0
                for k in range(q):
                    total += W[k, a] * V[j, k, c]
                gram[a, c] -= total
    LA, A_inverse = np.zeros((p, p)), np.zeros((p, p))
    logdet_A = cholesky_inverse(gram[:p, :p], LA, A_inverse) if p else 0.0
    pwrss = gram[p, p]
    for a in range(p):
        b[a] = 0.0
        for c in range(p):
            b[a] += A_inverse[a, c] * gram[p, c]
    for a in range(p):
        pwrss -= b[a] * gram[p, a]
    df = n - p if reml else n
    if not (pwrss > 0.0 and math.isfinite(value) and math.isfinite(logdet_A)):
        return math.nan, math.nan
    s = pwrss / df
    value += df * (1.0 + math.log(2 * math.pi * s))
    weights = np.zeros((p + 1, p + 1))
    if reml:
        value += logdet_A
        weights[:p, :p] = A_inverse
    for a in range(p + 1):
        for c in range(p + 1):
            weights[a, c] += (-b[a] if a < p else 1.0) * (-b[c] if c < p else 1.0) / s
    for j in range(J):
        for i in range(q):
            for a in range(p + 1):
                total = 0.0
                for c in range(p + 1):
                    total += E[j, i, c] * weights[c, a]
                for k in range(i + 1):
                    by_T[i, k] -= 2 * total * V[j, k, a]
    for k in range(m):
        gradient[k] = by_T[rows[k], columns[k]]
        if power > 0.0 and rows[k] == columns[k]:
            value -= 2 * power * math.log(abs(theta[k]))
            gradient[k] -= 2 * power / theta[k]
    return value, s


@numba.njit(cache=True, nogil=True)
def _minimise(start, scale, rows, columns, reml, power, n, XtX, Xty, yty, ZtZ, ZtX, Zty):
    """BFGS in theta / scale; returns theta, b, s and whether it came to rest."""
    m, p = len(start), len(Xty)
    x, H = start / scale, np.eye(m)
    g, g_new, b = np.zeros(m), np.zeros(m), np.zeros(p)
    value, s = _criterion(x * scale, rows, columns, reml, power, n, XtX, Xty, yty, ZtZ, ZtX, Zty, g, b)
    g *= scale
    if not math.isfinite(value):
        return start, b, math.nan, False
    fresh, resting = True, 0
    for _ in range(MOST_ITERATIONS):
        d = np.zeros(m)
        for i in range(m):
            for k in range(m):
                d[i] -= H[i, k] * g[k]
        slope = 0.0
        for i in range(m):
            slope += g[i] * d[i]
        if slope > -PROMISED:
            return x * scale, b, s, True
        length = math.sqrt((d**2).sum())
        step = min(1.0, 1.0 / length) if fresh else 1.0
        moved = False
        for _try in range(40):
            x_new = x + step * d
            value_new, s_new = _criterion(
                x_new * scale, rows, columns, reml, power, n, XtX, Xty, yty, ZtZ, ZtX, Zty, g_new, b
            )
            if math.isfinite(value_new) and value_new <= value + 1e-4 * step * slope:
                moved = True
                break
            step *= 0.3
        if not moved:
            # Rounding hides the descent, or the model of the curvature is wrong: once more down the gradient.
            if fresh or slope > -1e-6:
                _, s = _criterion(x * scale, rows, columns, reml, power, n, XtX, Xty, yty, ZtZ, ZtX, Zty, g_new, b)
                return x * scale, b, s, slope > -1e-4
            H, fresh = np.eye(m), True
            continue
        g_scaled = g_new * scale
        dx, dg = x_new - x, g_scaled - g
        curvature, size = 0.0, 0.0
        for i in range(m):
            curvature += dx[i] * dg[i]
            size += dg[i] * dg[i]
        if curvature > 1e-12 * math.sqrt(size * (dx**2).sum()):
            if fresh:
                H *= curvature / size
            Hg = np.zeros(m)
            for i in range(m):
                for k in range(m):
                    Hg[i] += H[i, k] * dg[k]
            inner = 0.0
            for i in range(m):
                inner += dg[i] * Hg[i]
            for i in range(m):
                for k in range(m):
                    H[i, k] += (1 + inner / curvature) * dx[i] * dx[k] / curvature
                    H[i, k] -= (Hg[i] * dx[k] + dx[i] * Hg[k]) / curvature
            fresh = False
        # Where two boundaries meet the criterion is flatter than a parabola, and steps promise what they do not bring.
        resting = resting + 1 if value - value_new < 1e-13 * abs(value) else 0
        x, g, value, s = x_new, g_scaled, value_new, s_new
        if resting == 3:
            return x * scale, b, s, True
    return x * scale, b, s, False


class Refitter:
    """Refits one model to many responses; only Z'y, X'y and y'y change.

    Parameters
    ----------
    stats : CrossProducts
        Sufficient statistics of one grouping factor, or of none.
    structure : BlockStructure
        Blocks of Lambda.
    Lambda : ndarray (q, q)
        Where to start, and the scale of the steps.
    reml : bool
        Restricted or ordinary likelihood.
    power : float, default 0
        Of the penalty |Lambda|^power.
    """

    def __init__(
        self, stats: CrossProducts, structure: BlockStructure, Lambda: Array, *, reml: bool, power: float = 0.0
    ):
        self.stats, self.structure, self.reml, self.power = stats, structure, reml, power
        positions = np.array(structure.positions, dtype=np.int64).reshape(-1, 2)
        self._rows, self._columns = positions[:, 0].copy(), positions[:, 1].copy()
        start = Lambda.copy()
        np.fill_diagonal(start, np.maximum(np.diag(Lambda), LEAST_START))
        self._start = structure.theta(start)
        # A step that changes the criterion by about one, as in reml_crossed.py.
        S, own = np.einsum("jkk->jk", stats.ZtZ), np.diag(start)
        steps = 1 / np.sqrt(((2 * S * own / (1 + own**2 * S)) ** 2).sum(axis=0) + 1)
        self._scale = steps[self._rows]

    def __call__(self, Xty: Array, yty: float, Zty: Array) -> tuple[Array, Array, float, bool]:
        """Lambda with a non-negative diagonal, b, s and whether the optimiser came to rest."""
        stats = self.stats
        theta, b, s, converged = _minimise(
            self._start,
            self._scale,
            self._rows,
            self._columns,
            self.reml,
            self.power,
            stats.n,
            stats.XtX,
            Xty,
            yty,
            stats.ZtZ,
            stats.ZtX,
            Zty,
        )
        Lambda = self.structure.factor(theta)
        Lambda = Lambda * np.where(np.diag(Lambda) < 0, -1.0, 1.0)
        # The criterion is flat to second order there: so small an element is a boundary that was reached.
        diagonal = np.diag(Lambda)
        np.fill_diagonal(Lambda, np.where(diagonal < ZERO, 0.0, diagonal))
        return Lambda, b, s, converged
