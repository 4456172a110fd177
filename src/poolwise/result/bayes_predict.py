"""Predictions of a Bayesian fit: of known groups, of new ones drawn from the population, of the typical group."""

from typing import Any

import numpy as np
import pandas as pd

from poolwise import names
from poolwise.algebra.crossproducts import Array
from poolwise.algebra.links import INVERSE
from poolwise.data.intake import as_frame
from poolwise.data.memory import refuse_larger
from poolwise.errors import ArgumentError, DataError, FitError
from poolwise.result import tables
from poolwise.result.bayes_draws import BayesDraws
from poolwise.result.expectation import level_probabilities, mean_of
from poolwise.result.group_modes import (
    INTEGRATED,
    POPULATION_DRAW,
    POPULATION_MEAN,
    Groups,
    check_kind,
    check_seed,
    codes_for,
    group_modes,
    label_rng,
    record,
    row_labels,
    tell_near,
)
from poolwise.spec.design import Design
from poolwise.spec.factors import GroupingFactor
from poolwise.spec.members import weights_of
from poolwise.spec.response import trials_of

# Rows predicted at a time: the draws of one block stay below about 100 MB.
BLOCK_NUMBERS = 10_000_000
# The kind of prediction with a number for each level or category, what has them, and what has one event instead.
PROBABILITY = "probability"
CATEGORIES, EVENTS = ("levels", "categories", "counts"), ("binary", "trials")
IN_BLOCKS = "Ask for a part of the rows, or for predict(), which goes through them in parts"


class BayesPrediction(BayesDraws):
    """What a fit with draws of coefficients and effects predicts."""

    @property
    def _linear(self) -> bool:
        """Whether the mean of the response is its linear predictor."""
        return self.design.family.link == "identity" and self.design.family.gaussian

    def predict(
        self, data: Any = None, *, groups: Groups = None, kind: str = "mean", level: float = 0.95, seed: int = 0
    ) -> pd.DataFrame:
        """Predictions for new rows, by default groups that were seen with their effects, new ones from the population.

        Parameters
        ----------
        data : DataFrame, optional
            New rows with the predictors and grouping factors, the latter left out at will where groups is
            ``"population_mean"`` or ``"integrated"``; the data of the fit by default.
        groups : {"observed", "population_draw", "population_mean", "integrated"} or dict by factor, optional
            What a row's group stands for. ``"observed"``: the effects of that group; a group that was not in the data
            is an error. ``"population_draw"``: a new group, its effects drawn from N(0, Sigma) once a label and draw of
            the posterior. ``"population_mean"``: effects of zero, the typical group. ``"integrated"``: the mean over
            the groups of the population (with an identity link that of the typical group), their spread in the
            interval; rows of one label have effects of their own. By default a group that was seen is observed and a
            new one a population draw.
        kind : {"mean", "response", "probability"} or str
            The mean of the response (of a binomial one, the probability; of an ordinal one, the mean level, from 1; of
            a categorical one, the probability of each category), ``"probability"``, of each level of an ordinal
            response, as brms's ``fitted()``, or of each category, or the response itself with its residual noise (of a
            binomial one, successes in the trials of the row; counts of each category in the total of the row), or the
            name of a further parameter with a formula of its own, such as ``"sigma"``.
        level : float, default 0.95
            Probability of the equal-tailed interval.
        seed : int, default 0
            Of the population draws and the noise.

        Returns
        -------
        DataFrame
            Of a categorical response, and of ``kind="probability"``, a row for each row and category (or level),
            named by the columns row and category. Columns
            estimate, lower, upper, in the units of the response; groups: "observed", or "new" where at least
            one group of the row was not in the data; and ``groups[factor]``, what was done with each row's group.

        Raises
        ------
        DataError
            If the mode is observed and a group was not, which is named.
        ArgumentError
            For ``kind="response"`` of a categorical response: a category has no mean and no quantiles; for
            ``kind="probability"`` of a response that is neither ordinal nor categorical.

        Warns
        -----
        PoolwiseWarning
            If nothing is said of groups and the label of a new one nearly is that of a known one.

        Examples
        --------
        >>> import poolwise as pw
        >>> model = pw.Model("Reaction ~ Days + (Days | Subject)", pw.load_dataset("sleepstudy"))
        >>> fit = model.fit(seed=1, progress=False)
        >>> new = pw.load_dataset("sleepstudy").head(2).assign(Subject="new")
        >>> fit.predict(new).shape
        (2, 5)
        >>> fit.predict(new, groups="population_mean")["estimate"].round(-1).tolist()
        [250.0, 260.0]
        """
        categories = self._categories_of(kind)
        if self.design.family.holds == "categories" and kind == "response":
            raise ArgumentError(
                "a category has no mean and no interval: kind='mean' gives the probability of each category, "
                "predict_draws(..., kind='response') draws categories, counted from 0"
            )
        tail = (1 - tables.check_level(level)) / 2
        frame, modes = self.design.frame if data is None else as_frame(data), group_modes(self.design, groups)
        typical = {name: POPULATION_MEAN if mode == INTEGRATED else mode for name, mode in modes.items() if mode}
        blocks = []
        for block in self._blocks(len(frame), len(categories or "1")):
            draws = self.predict_draws(frame, groups=groups, kind=kind, seed=seed, block=block)
            mean = draws
            if INTEGRATED in modes.values() and self._linear and kind in ("mean", "response"):
                # The mean is linear in the effects: they are integrated out exactly, by leaving them out.
                mean = self.predict_draws(frame, groups=typical, seed=seed, block=block)
            blocks.append(np.stack([mean.mean(axis=0), *np.quantile(draws, [tail, 1 - tail], axis=0)]))
        mean, lower, upper = np.concatenate(blocks, axis=1)
        known, records = np.ones(len(frame), dtype=bool), []
        for factor in self.design.all_factors:
            codes = np.stack([codes_for(view, frame, modes[factor.name]) for view in factor.views]).min(axis=0)
            known &= codes >= 0
            records.append(record(factor, frame, codes, modes[factor.name], POPULATION_DRAW))
        if categories is None:
            return tables.prediction_frame(mean, lower, upper, known, records)
        K = len(categories)
        records = [(name, np.repeat(column, K)) for name, column in records]
        table = tables.prediction_frame(mean.ravel(), lower.ravel(), upper.ravel(), np.repeat(known, K), records)
        labels = np.empty(K, dtype=object)
        labels[:] = categories
        table.insert(0, "category", pd.Series(np.tile(labels, len(frame))).infer_objects())
        table.insert(0, "row", np.repeat(np.arange(len(frame)), K))
        return table

    def _categories_of(self, kind: str) -> tuple[Any, ...] | None:
        """Categories, or levels, that a prediction has several numbers of in a row; None where it has one."""
        family = self.design.family
        if kind == PROBABILITY and family.holds == "levels":
            return self.design.outcome.levels
        if kind == PROBABILITY and not family.categorical:
            event = "kind='mean' is the probability of the event" if family.holds in EVENTS else "ask for kind='mean'"
            raise ArgumentError(
                f"kind='probability' is of the levels of an ordinal response or the categories of a categorical one; "
                f"family {family.name!r} has neither: {event}"
            )
        return self.design.categories

    def _blocks(self, rows: int, categories: int = 1) -> list[slice]:
        categories = max(categories, len(self.design.categories or "1"))
        size = max(1, BLOCK_NUMBERS // max(1, len(self.coefficients) * categories))
        return [slice(start, min(start + size, rows)) for start in range(0, max(rows, 1), size)]

    def predict_draws(
        self, data: Any = None, *, groups: Groups = None, kind: str = "mean", seed: int = 0, block: slice | None = None
    ) -> Array:
        """Draws behind :meth:`predict`, (chains * draws, n); of probabilities of K categories or levels (..., n, K).

        Parameters
        ----------
        data : DataFrame, optional
            As in :meth:`predict`.
        groups : str or dict by factor, optional
            As in :meth:`predict`.
        kind : {"mean", "response", "probability"} or str
            As in :meth:`predict`.
        seed : int, default 0
            Rows of one new group share its drawn effects.
        block : slice, optional
            Only these rows.

        Returns
        -------
        ndarray

        Raises
        ------
        ArgumentError
            As :meth:`predict`.
        FitError
            If draws times rows do not fit into the memory that is free.

        Examples
        --------
        >>> import poolwise as pw
        >>> model = pw.Model("Reaction ~ Days + (Days | Subject)", pw.load_dataset("sleepstudy"))
        >>> fit = model.fit(seed=1, progress=False)
        >>> fit.predict_draws().shape
        (4000, 180)
        """
        check_seed(seed)
        further = [one.family.name for one in self.design.further]
        check_kind(kind, [PROBABILITY, *further] if self.design.family.holds in CATEGORIES else further)
        if block is None and data is not None:
            self._tell_near(as_frame(data), group_modes(self.design, groups))
        own = self.own_by_row(data, groups=groups, seed=seed, block=block)
        if kind not in ("mean", "response", PROBABILITY):
            return own[kind]
        mean = self.linear_predictor(data, groups=groups, seed=seed, block=block)
        start = 0 if block is None else block.start
        if not self.design.family.gaussian:
            if kind == PROBABILITY and self.design.family.holds == "levels":
                return level_probabilities(self.design.family, mean, own["threshold"])
            if kind in ("mean", PROBABILITY):
                return mean_of(self.design.family, mean, own)
            from poolwise.compile.likelihood import draw_response, trials_of_rows

            trials = None
            if self.design.family.holds in ("trials", "counts"):
                given = trials_of_rows(self.design) if data is None else trials_of(self.design.formula, as_frame(data))
                trials = given if block is None or given is None else given[block]
            return draw_response(self.design.cells, mean, own, trials, _mixed(seed, start))
        if kind == "response":
            rng = np.random.default_rng([seed, 1, start])
            mean += own[names.SIGMA] * rng.standard_normal(mean.shape)
        return mean

    def _tell_near(self, frame: pd.DataFrame, modes: dict[str, str | None]) -> None:
        for factor in self.design.all_factors:
            if modes[factor.name] is None:
                tell_near(factor, frame, np.stack([view.codes_of(frame) for view in factor.views]).min(axis=0), None)

    def linear_predictor(
        self, data: Any = None, *, groups: Groups = None, seed: int = 0, block: slice | None = None
    ) -> Array:
        """Draws of the linear predictor, offset included, (chains * draws, n); arguments as :meth:`predict_draws`.

        Of a categorical response that of its first category, 0.

        :meta private:
        """
        return self._linear_predictor_of(self.design, data, groups, seed, block)

    def own_by_row(self, data: Any = None, *, groups: Groups = None, seed: int = 0, block: slice | None = None):
        """Draws of the family's further parameters: (chains * draws, n) of those with a formula, else one a draw.

        Of a categorical response the linear predictors of its categories, but for a reference.

        :meta private:
        """
        predicted = {
            one.family.name: INVERSE[one.family.link](self._linear_predictor_of(one, data, groups, seed, block))
            for one in self.design.predicted
        }
        return self._constant_draws | predicted

    def _linear_predictor_of(self, design: Design, data: Any, groups: Groups, seed: int, block: slice | None) -> Array:
        modes, start = group_modes(self.design, groups), 0 if block is None else block.start
        frame = self.design.frame if data is None else as_frame(data)
        part = frame if block is None else frame.iloc[block].reset_index(drop=True)
        draws = self.settings.chains * self.settings.draws
        refuse_larger(16.0 * draws * len(part), f"{draws} draws of {len(part)} rows", IN_BLOCKS, FitError)
        eta = self.coefficients_of(design) @ design.common.apply(part).T + design.offset_of(part)
        for smooth in design.smooths:
            eta += self.smooth_part(smooth, smooth.apply(part))
        for place, factor in enumerate(design.factors):
            if modes[factor.name] == POPULATION_MEAN:
                continue
            rng = np.random.default_rng([seed, 2, place, start, *(design.prefix + design.category).encode()])
            Z = factor.Z_of(part)
            for k, view in enumerate(factor.views):
                own = Z
                if factor.members is not None:
                    own = Z * weights_of(factor.columns, factor.members.weights_columns, part)[:, k, None]
                eta += self._group_part(view, part, own, modes[factor.name], seed, rng)
        return eta

    def _group_part(
        self,
        factor: GroupingFactor,
        part: pd.DataFrame,
        Z: Array,
        mode: str | None,
        seed: int,
        rng: np.random.Generator,
    ) -> Array:
        """Contribution of one factor (D, rows); drawn effects come from N(0, T T'), once a label, or by row."""
        effects, codes = self.effects(factor), codes_for(factor, part, mode)
        total = np.zeros((len(effects), len(part)))
        own = (codes >= 0) & (mode not in (POPULATION_DRAW, INTEGRATED))
        total[:, own] = np.einsum("dnk,nk->dn", effects[:, codes[own]], Z[own])
        if own.all():
            return total
        if factor.relation is not None:
            raise DataError(
                f"how a group of {factor.name!r} outside the data is related to the others, gr({factor.name}, "
                f"cov={factor.relation.name}) does not say; predict groups of the data with groups='observed', or the "
                "typical group with groups='population_mean'"
            )
        drawn = np.flatnonzero(~own)
        new = part.iloc[drawn].reset_index(drop=True)
        Z = Z[drawn] * self.sd_ratios(factor, new)  # (D or 1, rows, q)
        T = self._factors_by_kind(factor)
        kind = np.zeros(len(new), dtype=np.int64) if factor.kinds is None else factor.kinds.of_rows(new)
        if mode == INTEGRATED:
            for k in np.unique(kind):
                # (D, rows, q), whether or not Z differs by draw. Effects are drawn, not only their sum: two versions
                # of a row then have the same ones.
                root = np.matmul(Z[:, kind == k], T[:, k])
                total[:, drawn[kind == k]] = (root * rng.standard_normal(root.shape)).sum(axis=2)
            return total
        labels = row_labels(factor, new)
        for label in labels.unique():
            rows = np.flatnonzero(labels == label)
            if (kind[rows] != kind[rows[0]]).any():
                raise DataError(f"rows of the new group {':'.join(label)!r} of {factor.name!r} are of different kinds")
            z = label_rng(seed, factor, label).standard_normal((len(effects), len(factor.effects)))
            u = np.einsum("dkl,dl->dk", T[:, kind[rows[0]]], z)
            total[:, drawn[rows]] = np.matmul(Z[:, rows], u[:, :, None])[:, :, 0]
        return total

    def sd_ratios(self, factor: GroupingFactor, part: pd.DataFrame) -> Array:
        """Ratio (D, rows, q) of each row's group sds to those of the posterior; (1, 1, 1) of ones where they are one.

        The group sds of ``gr(g, sd=~ z)`` are those of a group whose covariates stand at their means.

        :meta private:
        """
        if factor.sd_regression is None:
            return np.ones((1, 1, 1))
        gamma = np.stack([[self._draws(name) for name in own] for own in factor.log_sd_names])
        return np.exp(np.einsum("nr,krd->dnk", factor.sd_regression.rows_of(part), gamma))


def _mixed(*numbers: int) -> int:
    """One seed from several."""
    return int(np.random.SeedSequence(list(numbers)).generate_state(1)[0])
