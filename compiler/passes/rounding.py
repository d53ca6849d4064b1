"""Integers for a weight matrix that change its products least, given what the inputs were.

For inputs x with Gram matrix G = mean(x·xᵀ) the error of an output channel is (w − lsb·q)ᵀ·G·(w − lsb·q). Rounding
to nearest ignores that inputs go together; here a column is rounded at a time, and the columns still to come take
over its error as far as G lets them (optimal brain quantisation with one order for all rows; Frantar et al., GPTQ,
2022).
"""

from __future__ import annotations

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

Matrix = NDArray[np.float64]

DAMPING = 0.01  # share of the mean input power added to every input's, so that rare inputs move no weight far
CLIPPED_SHARES = tuple(1.0 - 0.05 * step for step in range(11))
BLOCK = 128


def error(weight: Matrix, rounded: Matrix, gram: Matrix) -> Matrix:
    """Mean squared change of each output channel [O]."""
    difference = weight - rounded
    squared: Matrix = np.einsum("ok,ok->o", difference @ gram, difference)
    return squared


def nearest(weight: Matrix, lsb: Matrix, largest: int) -> Matrix:
    """The integers nearest to weight / lsb within ±largest."""
    return np.clip(np.rint(weight / lsb[:, None]), -largest, largest)


def best_lsb(weight: Matrix, lsb: Matrix, largest: int, gram: Matrix, *, shared: bool) -> Matrix:
    """The share of `lsb` [O], ½ to 1, at which rounding to nearest errs least: clipping few may help all.

    shared: one share for all channels.
    """
    tried = [share * lsb for share in CLIPPED_SHARES]
    errors = np.stack([error(weight, nearest(weight, each, largest) * each[:, None], gram) for each in tried])
    best = np.full(len(lsb), errors.sum(1).argmin()) if shared else errors.argmin(0)
    chosen: Matrix = np.choose(best, tried)
    return chosen


def rounded_together(weight: Matrix, lsb: Matrix, largest: int, gram: Matrix) -> Matrix:
    """Integers [O, K] of a weight [O, K]; never worse in any channel than rounding to nearest."""
    plain = nearest(weight, lsb, largest)
    power = np.diag(gram)
    if not power.any():
        return plain
    order = np.argsort(-power, kind="stable")
    integers = np.empty_like(plain)
    integers[:, order] = _round_columns(weight[:, order], lsb, largest, _passing_on(gram[np.ix_(order, order)]))
    worse = error(weight, integers * lsb[:, None], gram) > error(weight, plain * lsb[:, None], gram)
    integers[worse] = plain[worse]
    return integers


def _passing_on(gram: Matrix) -> Matrix:
    """The upper Cholesky factor of G⁻¹ [K, K]: row k says how columns after k take over the error of k."""
    damped = gram + np.eye(len(gram)) * DAMPING * np.diag(gram).mean()
    inverse = scipy.linalg.cho_solve(scipy.linalg.cho_factor(damped), np.eye(len(gram)))
    factor: Matrix = scipy.linalg.cholesky(inverse)
    return factor


def _round_columns(weight: Matrix, lsb: Matrix, largest: int, factor: Matrix) -> Matrix:
    weight, integers = weight.copy(), np.empty_like(weight)
    for start in range(0, weight.shape[1], BLOCK):
        stop = min(start + BLOCK, weight.shape[1])
        errors = np.empty((len(weight), stop - start))
        for column in range(start, stop):
            integers[:, column] = np.clip(np.rint(weight[:, column] / lsb), -largest, largest)
            errors[:, column - start] = (weight[:, column] - integers[:, column] * lsb) / factor[column, column]
            weight[:, column:stop] -= np.outer(errors[:, column - start], factor[column, column:stop])
        weight[:, stop:] -= errors @ factor[start:stop, stop:]
    return integers
