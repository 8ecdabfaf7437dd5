"""Parts of the user's own in a comparison: what tells that their code has changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache

from profuse import registry
from profuse.classical import CLASSICAL
from profuse.comparison.methods import Method
from profuse.data.dataset import Dataset
from profuse.encoders import preprocessor_for
from profuse.kinds import kind_named
from profuse.metrics import metrics_for
from profuse.training.options import TrainOptions

__all__ = ["fingerprints"]


def fingerprints(methods: list[Method], train: TrainOptions, dataset: Dataset) -> Mapping[str, list[str]]:
    """Returns, by the name of a method, the fingerprints of all that is not built in of the parts that it is made of.

    An old fit holds only while they stay the same.
    """
    of = cache(lambda kind, name: registry.table(kind).fingerprint(name))
    return {
        method.name: sorted({f for kind, name in _parts(method, train, dataset) if (f := of(kind, name))})
        for method in methods
    }


def _parts(method: Method, train: TrainOptions, dataset: Dataset) -> Iterator[tuple[str, str]]:
    """Yields kind and name of every part behind the scores of a method."""
    yield from (("metric", metric.name) for metric in metrics_for(dataset.task))
    options = method.model
    if options is None:
        yield "classical", method.estimator
    if method.portfolio is not None:
        yield from (("classical", name) for name in CLASSICAL)
    for modality in method.modalities:
        data = dataset.modalities[modality]
        default = kind_named(data.kind)
        yield "kind", data.kind
        if not method.is_network:
            yield from (("features", name) for name in default.feature_sets)
        if options is not None:
            yield "preprocessor", data.preprocess or default.preprocessor
            yield "encoder", data.encoder or default.encoder
            named = (options.encoders.get(modality), *method.others.get(modality, ()))
            for encoder in (name for name in named if name):
                yield "encoder", encoder
                if (needed := preprocessor_for(encoder)) is not None:
                    yield "preprocessor", needed
    if options is not None:
        if method.is_network:
            yield "fusion", options.fusion or ""  # every one names one
        yield "fusion", options.decision
        if train.balance is not None:
            yield "balance", train.balance
