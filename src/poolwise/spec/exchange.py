"""Kinds of groups and related groups as exchangeable groups, so that their effects integrate out in closed form too.

Kinds, ``gr(g, by=z)``: a group of kind k has the columns of Z in the k-th of K copies and zeros in the others, and the
covariance of all copies is block-diagonal.

Related groups and several memberships, with one effect a group: ``(1 | gr(g, cov=A))``, ``(1 | mm(g1, g2))``. With Z
(n, J) of all groups, A = R R' (the identity without ``cov=``) and R' Z'Z R = Q diag(m) Q', the effects u = sd R Q f
have f ~ N(0, I), and the rows say of each f_i as much as m_i rows of a group of its own would. The decomposition does
not depend on the parameters, so it is made once.

References
----------
Lippert, Listgarten, Liu, Kadie, Davidson & Heckerman (2011), FaST linear mixed models, Nature Methods 8, 833-835.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import scipy.linalg
import scipy.sparse

from poolwise.algebra.basis import centring, make_basis
from poolwise.algebra.crossproducts import Array, CrossProducts, cross_products
from poolwise.algebra.theta import BlockStructure
from poolwise.spec.design import Design
from poolwise.spec.factors import GroupingFactor
from poolwise.spec.sufficient import Sufficient

# The decomposition takes the cube of the groups: seconds for so many.
MOST_GROUPS = 3_000


@dataclass(frozen=True)
class Exchangeable:
    """A design with one factor of exchangeable groups, and the way back.

    Parameters
    ----------
    sufficient : Sufficient
        Its collapsed rows.
    to_effects : callable
        From its effects (D, J, q'), in units of the data, to those of the groups (D, J, q).
    """

    sufficient: Sufficient
    to_effects: Callable[[Array], Array]


def serves_exchangeable(design: Design) -> bool:
    """Whether a Gaussian design whose groups are not exchangeable has a twin whose groups are."""
    if len(design.factors) != 1 or not design.collapses:
        return False
    factor = design.factors[0]
    if factor.sd_regression is not None:
        return False
    if factor.kinds is not None:
        return factor.relation is None
    return len(factor.effects) == 1 and factor.J <= MOST_GROUPS


def exchangeable(design: Design, *, centred: bool = True) -> Exchangeable:
    """The twin of a design that :func:`serves_exchangeable` accepts.

    Parameters
    ----------
    design : Design
        Gaussian, with one factor.
    centred : bool, default True
        Whether the algebra's group intercepts stand at the means of their block's predictors, or at zero.
    """
    factor = design.factors[0]
    Z, structure, copies = factor.Z, factor.structure, 1
    if factor.kinds is not None:
        copies = len(factor.kinds.labels)
        kind = factor.kinds.codes[factor.codes]
        Z = np.concatenate([factor.Z * (kind == k)[:, None] for k in range(copies)], axis=1)
        structure = BlockStructure(structure.sizes * copies)
    C: Array | None = None
    if centred:
        C = np.asarray(np.kron(np.eye(copies), centring(factor.Z, factor.structure)), dtype=np.float64)
    y = design.y - design.offset
    basis = make_basis(design.X, Z, y, design.intercept, C)
    X, Z, y = basis.rows(design.X, Z, y)
    if factor.kinds is not None:
        stats = cross_products(X, Z, y, factor.codes, factor.J, design.weights, frequency=design.frequency)
        return Exchangeable(Sufficient(basis, stats, structure), lambda effects: _of_own_kind(effects, factor))
    stats, rotation = _rotated(design, X, Z, y)
    return Exchangeable(Sufficient(basis, stats, structure), lambda effects: np.matmul(rotation, effects))


def _of_own_kind(effects: Array, factor: GroupingFactor) -> Array:
    assert factor.kinds is not None
    D, J, _ = effects.shape
    return effects.reshape(D, J, len(factor.kinds.labels), -1)[:, np.arange(J), factor.kinds.codes]


def _rotated(design: Design, X: Array, Z: Array, y: Array) -> tuple[CrossProducts, Array]:
    """Statistics of the independent f, one a pseudo-group, and the matrix R Q (J, J) from f to the effects."""
    factor, rows = design.factors[0], np.arange(design.n)
    shares = np.ones((design.n, 1)) if factor.members is None else factor.members.weights
    codes = factor.codes.reshape(design.n, -1)
    every = (np.repeat(rows, codes.shape[1]), codes.ravel())
    whole = scipy.sparse.csr_array(((Z * shares).ravel(), every), shape=(design.n, factor.J))
    R = np.eye(factor.J) if factor.relation is None else factor.relation.root
    weighted = whole.T if design.weights is None else whole.T.multiply(design.weights).tocsr()
    m, Q = scipy.linalg.eigh(R.T @ (weighted @ whole).toarray() @ R)
    rotation = R @ Q
    # One group stands for none: its sums are replaced.
    alone = cross_products(X, Z, y, np.zeros_like(rows), 1, design.weights, frequency=design.frequency)
    stats = replace(
        alone,
        # Eigenvalues of a positive semi-definite matrix: rounding may leave one just below zero.
        ZtZ=np.maximum(m, 0.0)[:, None, None],
        ZtX=(rotation.T @ (weighted @ X))[:, None],
        Zty=(rotation.T @ (weighted @ y))[:, None],
        counts=factor.sizes.astype(np.float64),
    )
    return stats, rotation
