"""The collapsed log marginal likelihood as a PyTensor Op: the general door, for priors outside the closed set."""

from typing import Any, cast

import numba
import numpy as np
import pytensor.tensor as pt
from pytensor.gradient import disconnected_type
from pytensor.graph.basic import Apply
from pytensor.graph.op import Op
from pytensor.link.numba.dispatch.basic import register_funcify_default_op_cache_key

from poolwise.algebra.crossproducts import CrossProducts
from poolwise.algebra.marginal import log_marginal

N_STATISTICS = 8


class LogMarginal(Op):
    """Value and gradients of :func:`poolwise.algebra.marginal.log_marginal`.

    Inputs are b (p,), T (q, q), s and the statistics; outputs the value and its gradients by b, T and s. The pullback
    multiplies the Op's own outputs, so that value and gradient cost one pass.
    """

    __props__ = ()

    def make_node(self, b, T, s, *statistics):
        """Apply node; the statistics are n, log_weights, XtX, Xty, yty, ZtZ, ZtX, Zty."""
        inputs = [pt.as_tensor(value, dtype="float64") for value in (b, T, s, *statistics)]
        return Apply(self, inputs, [pt.dscalar(), pt.dvector(), pt.dmatrix(), pt.dscalar()])

    def perform(self, node, inputs, output_storage):
        """Evaluate with the numba kernel."""
        b, T, s, *statistics = inputs
        n, log_weights, XtX, Xty, yty, ZtZ, ZtX, Zty = statistics
        grad_b, grad_T = np.empty(b.shape[0]), np.empty(T.shape)
        value, grad_s = log_marginal(
            b, T, float(s), float(n), float(log_weights), XtX, Xty, float(yty), ZtZ, ZtX, Zty, grad_b, grad_T
        )
        for storage, result in zip(output_storage, (value, grad_b, grad_T, grad_s), strict=True):
            storage[0] = np.asarray(result)

    def connection_pattern(self, node):
        """Only b, T and s carry a gradient, and only from the value."""
        return [[True, False, False, False]] * 3 + [[False] * 4] * N_STATISTICS

    def pullback(self, inputs, outputs, cotangents):
        """Cotangent of the value times the gradients."""
        value_cotangent = cotangents[0]
        _, grad_b, grad_T, grad_s = outputs
        gradients = [value_cotangent * grad_b, value_cotangent * grad_T, value_cotangent * grad_s]
        return gradients + [disconnected_type() for _ in range(N_STATISTICS)]


@register_funcify_default_op_cache_key(LogMarginal)
def _numba_log_marginal(op, node=None, **kwargs):
    @numba.njit
    def evaluate(b, T, s, n, log_weights, XtX, Xty, yty, ZtZ, ZtX, Zty):
        grad_b, grad_T = np.empty(b.shape[0]), np.empty(T.shape)
        value, grad_s = log_marginal(
            np.ascontiguousarray(b),
            np.ascontiguousarray(T),
            s.item(),
            n.item(),
            log_weights.item(),
            np.ascontiguousarray(XtX),
            np.ascontiguousarray(Xty),
            yty.item(),
            np.ascontiguousarray(ZtZ),
            np.ascontiguousarray(ZtX),
            np.ascontiguousarray(Zty),
            grad_b,
            grad_T,
        )
        return np.asarray(value), grad_b, grad_T, np.asarray(grad_s)

    return evaluate, 1


def statistics_inputs(stats: CrossProducts) -> list[Any]:
    """The statistics in the order of the Op's inputs."""
    return [stats.n, stats.log_weights, stats.XtX, stats.Xty, stats.yty, stats.ZtZ, stats.ZtX, stats.Zty]


def log_marginal_graph(b, T, s, statistics):
    """The value as a graph node."""
    return cast(list, LogMarginal()(b, T, s, *statistics))[0]
