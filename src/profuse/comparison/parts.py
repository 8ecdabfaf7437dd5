"""Parts of the user's own in a comparison: what tells that their code has changed, and their way into its processes."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Iterator, Mapping
from functools import cache

from profuse import registry
from profuse.comparison.methods import Method
from profuse.data.dataset import Dataset
from profuse.errors import ConfigError
from profuse.kinds import kind_named
from profuse.metrics import metrics_for
from profuse.training.options import TrainOptions

__all__ = ["fingerprints", "packed", "unpack"]


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
    for modality in method.modalities:
        data = dataset.modalities[modality]
        default = kind_named(data.kind)
        yield "kind", data.kind
        if options is None:
            yield from (("features", name) for name in default.feature_sets)
        else:
            yield "preprocessor", data.preprocess or default.preprocessor
            yield "encoder", options.encoders.get(modality) or data.encoder or default.encoder
    if options is not None:
        yield "fusion", options.fusion or ""  # every method names one
        yield "fusion", options.decision
        if train.balance is not None:
            yield "balance", train.balance


def packed() -> bytes:
    """Returns what was registered here, for `unpack` in another process: by reference where it can be imported there.

    Raises:
        ConfigError: A part cannot go there.
    """
    from joblib import (
        wrap_non_picklable_objects,  # a class of a script or a notebook goes by value, as joblib's work does
    )

    parts, digests = registry.registered(), {}
    for kind, named in parts.items():
        for name, part in named.items():
            try:
                pickle.dumps(wrap_non_picklable_objects({name: part}, keep_wrapper=False))
            except Exception as error:  # any object may say in its own way that it cannot
                raise ConfigError(
                    f"compare: {kind} {name!r} must reach worker processes by its module or by value; got "
                    f"{type(error).__name__}: {error}. Define it at the top of a module, or use one process (n_jobs=1)."
                ) from error
            digests[kind, name] = _package(part), registry.table(kind).fingerprint(name)
    return pickle.dumps((sys.path, digests, pickle.dumps(wrap_non_picklable_objects(parts, keep_wrapper=False))))


_UNPACKED: dict[tuple[str, str], str] = {}
"""The fingerprint of each part that this worker has been given; it may live longer than one comparison."""


def unpack(packed: bytes) -> None:
    """Registers in this process what `packed` returned in another one.

    Raises:
        ConfigError: A part cannot be imported here.
    """
    paths, digests, parts = pickle.loads(packed)
    # in that process's order: a folder of an earlier comparison may hold a module of the same name
    sys.path[:] = [*paths, *(path for path in sys.path if path not in paths)]
    for named, (package, digest) in digests.items():
        if _UNPACKED.setdefault(named, digest) != digest:  # its code has changed since it was imported here
            for module in [m for m in sys.modules if m.partition(".")[0] == package]:
                del sys.modules[module]
            _UNPACKED[named] = digest
    try:
        registry.receive(pickle.loads(parts))
    except Exception as error:  # what is imported may fail in any way
        raise ConfigError(
            f"compare: registered parts must be importable in worker processes; got {type(error).__name__}: {error}. "
            "Install their module, or put it where Python finds it (PYTHONPATH)."
        ) from error


def _package(part: object) -> str:
    """Returns the package, or the module that is in none, of a part or of its path."""
    return str(part if isinstance(part, str) else getattr(part, "__module__", "")).partition(":")[0].partition(".")[0]
