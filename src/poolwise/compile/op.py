"""The whitened log marginal likelihood as PyTensor Ops: the general door, for priors outside the closed set."""

from hashlib import sha256
from pathlib import Path
from typing import Any, cast

import numba
import numpy as np
import pytensor.tensor as pt
from pytensor.gradient import DisconnectedType, disconnected_type
from pytensor.graph.basic import Apply
from pytensor.graph.op import Op
from pytensor.link.numba.dispatch.basic import register_funcify_default_op_cache_key

from poolwise.algebra import groups, lanes, whitened
from poolwise.algebra.crossproducts import CrossProducts
from poolwise.algebra.whitened import backward, by_lane, forward, work_size

# PyTensor keeps compiled Ops on disk by this number and cannot see that a kernel they call has changed.
_SOURCES = [*(Path(str(module.__file__)) for module in (whitened, lanes, groups)), Path(__file__)]
VERSION = int(sha256(b"".join(path.read_bytes() for path in _SOURCES)).hexdigest()[:8], 16)

# n, log_weights, (X, y)'(X, y), Z'Z, Z'(X, y), and precision and linear term of the priors.
N_STATISTICS = 7


@numba.njit
def _value(xi, T, s, n, log_weights, cross, S, R, P, d):
    """Value and b."""
    p = len(xi)
    work, b = np.empty(work_size(p, R.shape[1], R.shape[2])), np.empty(p)
    return forward(xi, T, s, n, log_weights, cross, S, R, P, d, work, b), b


@numba.njit
def _gradient(value_bar, b_bar, xi, T, s, n, log_weights, cross, S, R, P, d):
    """Gradients by xi, T and s."""
    p, q = len(xi), len(T)
    work, b = np.empty(work_size(p, q, R.shape[2])), np.empty(p)
    forward(xi, T, s, n, log_weights, cross, S, R, P, d, work, b)
    grad_xi, grad_T = np.empty(p), np.zeros((q, q))
    grad_s = backward(value_bar, b_bar, xi, s, n, S, R, work, b, grad_xi, grad_T)
    return grad_xi, grad_T, grad_s


class WhitenedMarginal(Op):
    """Value and common effects b from xi (p,), T (q, q), s and the statistics."""

    __props__ = ()

    def make_node(self, xi, T, s, *statistics):
        """Apply node; the statistics are those of :func:`statistics_inputs`."""
        inputs = [pt.as_tensor(value, dtype="float64") for value in (xi, T, s, *statistics)]
        return Apply(self, inputs, [pt.dscalar(), pt.dvector()])

    def perform(self, node, inputs, output_storage):
        """Evaluate with the numba kernel."""
        for storage, result in zip(output_storage, _value(*map(_plain, inputs)), strict=True):
            storage[0] = np.asarray(result)

    def connection_pattern(self, node):
        """Only xi, T and s carry a gradient."""
        return [[True, True]] * 3 + [[False, False]] * N_STATISTICS

    def pullback(self, inputs, outputs, cotangents):
        """Gradients from the cotangents of the value and of b, by an Op of their own."""
        bars = [
            pt.zeros_like(output) if isinstance(bar.type, DisconnectedType) else bar
            for output, bar in zip(outputs, cotangents, strict=True)
        ]
        gradients = cast(list, WhitenedGradient()(*bars, *inputs))
        return [*gradients, *(disconnected_type() for _ in range(N_STATISTICS))]


class WhitenedGradient(Op):
    """Gradients by xi, T and s from the cotangents of the value and of b."""

    __props__ = ()

    def make_node(self, value_bar, b_bar, xi, T, s, *statistics):
        """Apply node."""
        inputs = [pt.as_tensor(value, dtype="float64") for value in (value_bar, b_bar, xi, T, s, *statistics)]
        return Apply(self, inputs, [pt.dvector(), pt.dmatrix(), pt.dscalar()])

    def perform(self, node, inputs, output_storage):
        """Evaluate with the numba kernel."""
        for storage, result in zip(output_storage, _gradient(*map(_plain, inputs)), strict=True):
            storage[0] = np.asarray(result)


def _plain(value):
    """What the kernel takes: a float for a 0-d array, else a contiguous array."""
    return float(value) if np.ndim(value) == 0 else np.ascontiguousarray(value)


@register_funcify_default_op_cache_key(WhitenedMarginal)
def _numba_value(op, node=None, **kwargs):
    @numba.njit
    def evaluate(xi, T, s, n, log_weights, cross, S, R, P, d):
        contiguous = np.ascontiguousarray
        value, b = _value(
            contiguous(xi), contiguous(T), s.item(), n.item(), log_weights.item(), contiguous(cross), contiguous(S),
            contiguous(R), contiguous(P), contiguous(d),
        )  # fmt: skip
        return np.asarray(value), b

    return evaluate, VERSION


@register_funcify_default_op_cache_key(WhitenedGradient)
def _numba_gradient(op, node=None, **kwargs):
    @numba.njit
    def evaluate(value_bar, b_bar, xi, T, s, n, log_weights, cross, S, R, P, d):
        contiguous = np.ascontiguousarray
        grad_xi, grad_T, grad_s = _gradient(
            value_bar.item(), contiguous(b_bar), contiguous(xi), contiguous(T), s.item(), n.item(), log_weights.item(),
            contiguous(cross), contiguous(S), contiguous(R), contiguous(P), contiguous(d),
        )  # fmt: skip
        return grad_xi, grad_T, np.asarray(grad_s)

    return evaluate, VERSION


def statistics_inputs(stats: CrossProducts) -> list[Any]:
    """The statistics in the order of the Ops' inputs; precision and linear term of the priors follow them."""
    return [stats.n, stats.log_weights, *by_lane(stats)]


def whitened_marginal(xi, T, s, statistics) -> tuple[Any, Any]:
    """Value and b as graph nodes."""
    value, b = cast(list, WhitenedMarginal()(xi, T, s, *statistics))
    return value, b
