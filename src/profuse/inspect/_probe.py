"""Whether features of one modality give away of which group a row is.

Samples of the rows take the regressions as given, but rows of one fold share theirs, and those of two folds share
most of the rows that they learned from: they are right and wrong together. With K folds whose scores have variance s^2
and correlation r, the variance of their mean is

    (1 + (K - 1) r) s^2 / K,    r = share of the rows that a fold is scored on = 1 / K,

r being what Nadeau and Bengio take for fits that share their rows. Samples of all rows estimate s^2 / K, so that the
standard error is sqrt(1 + (K - 1) / K) of theirs, 1.34 with 5 folds. Over 200 data sets each, of 60 to 300 rows and 5
to 20 numbers, the interval covers 95 to 98 %, that of samples alone 86 to 92 % (simulated; a test repeats it).

Reference:
    Nadeau and Bengio, Inference for the Generalization Error, Machine Learning 52 (2003), section 3.
    Bengio and Grandvalet, No Unbiased Estimator of the Variance of K-Fold Cross-Validation, JMLR 5 (2004).
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from profuse.data.dataset import Dataset
from profuse.data.feature_pipeline import FeaturePipeline
from profuse.inspect._group_scores import Measure, Resamples
from profuse.inspect._groups import Grouping

__all__ = ["probe"]

_FOLDS = 5


def probe(
    dataset: Dataset, name: str, grouping: Grouping, samples: Resamples, *, seed: int
) -> tuple[Measure, int] | None:
    """Returns the balanced accuracy, less chance, with which a modality tells the group, and of how many rows.

    A logistic regression on the classical features of the modality predicts the group out of fold; groups of rows stay
    on one side. Features are learned from all rows, without the groups. A table is without the group's own columns.

    Args:
        dataset: The rows.
        name: Of the modality.
        grouping: The groups; rows of none are left out.
        samples: Of the rows.
        seed: Of the folds.

    Returns:
        Its interval counts that rows of a fold share a fit, and fits most rows.
        None where nothing is left to tell by, or there are too few groups of rows.
    """
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

    data = dataset.modalities[name]
    if data.frame is not None:
        kept = [c for c in data.frame if c not in grouping.columns]
        if not kept:
            return None
        data = replace(data, values=data.frame[kept])
    masks = np.stack(list(grouping.groups.values()), axis=1)
    some = np.flatnonzero(masks.any(1))
    label, clusters = masks[some].argmax(1), samples.clusters[some]
    if not data.present[some].any():
        return None
    n_folds = min([_FOLDS, *(len(np.unique(clusters[label == g])) for g in range(masks.shape[1]))])
    if n_folds < 2:
        return None
    only = replace(dataset, modalities={name: data})
    features = FeaturePipeline.fit(only, some, {name: None})
    x = features.transform_one(only, name)[some]
    codes = np.array(features.categories.get(name) or [False] * x.shape[1])
    right = np.zeros(len(dataset))
    alone = len(np.unique(clusters)) == len(clusters)  # each row by itself: the same, and quick
    folds = (StratifiedKFold if alone else StratifiedGroupKFold)(n_folds, shuffle=True, random_state=seed)
    for train, test in folds.split(np.zeros((len(some), 1)), label, None if alone else clusters):
        right[some[test]] = _predicted(x, codes, label, train, test, seed) == label[test]
    recalls = [m for m in samples.means(np.repeat(right[:, None], masks.shape[1], 1), masks) if m is not None]
    slack = float(np.linalg.norm([m.slack for m in recalls])) / len(recalls)
    draws = np.mean([m.draws for m in recalls], axis=0)
    chance = 1 / len(recalls)
    value = float(np.mean([m.value for m in recalls]))
    measure = Measure(value - chance, draws - chance, min(m.n for m in recalls), slack)
    return measure.spread(math.sqrt(1 + (n_folds - 1) / n_folds)), len(some)


def _predicted(
    x: np.ndarray, codes: np.ndarray, label: np.ndarray, train: np.ndarray, test: np.ndarray, seed: int
) -> np.ndarray:
    """Returns the group that is predicted for the rows `test`."""
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    if len(np.unique(label[train])) < 2:
        return np.full(len(test), label[train][0])
    last = LogisticRegression(C=0.1, class_weight="balanced", max_iter=1_000, random_state=seed)
    if not isinstance(x, np.ndarray):
        return np.asarray(last.fit(x[train], label[train]).predict(x[test]))
    numbers = make_pipeline(
        SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True), StandardScaler()
    )
    words = make_pipeline(
        SimpleImputer(strategy="constant", fill_value=-1.0), OneHotEncoder(handle_unknown="ignore", max_categories=50)
    )
    columns = ColumnTransformer([("numbers", numbers, np.flatnonzero(~codes)), ("words", words, np.flatnonzero(codes))])
    return np.asarray(make_pipeline(columns, last).fit(x[train], label[train]).predict(x[test]))
