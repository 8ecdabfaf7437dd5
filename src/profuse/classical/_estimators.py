"""Fitted estimators of scikit-learn as bytes and back, without pickle: no type is made that is not listed here."""

from __future__ import annotations

import json
import warnings
from collections.abc import Collection, Iterator
from io import BytesIO
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np

from profuse.errors import CheckpointError

__all__ = ["dump_estimators", "load_estimators"]

_HOW = """
DictNode DTypeNode FunctionNode JsonNode ListNode LossNode NdArrayNode ObjectNode PartialNode RandomGeneratorNode
SliceNode TupleNode TypeNode
"""
_NAMES = """
builtins.dict builtins.int builtins.list builtins.slice builtins.str builtins.tuple
functools.partial
numpy.dtype numpy.float64 numpy.ndarray numpy.random._generator.Generator numpy.uint64
profuse.classical._columns.Columns
profuse.classical._columns.OnLogarithm
sklearn._loss._loss.CyHalfBinomialLoss
sklearn._loss._loss.CyHalfMultinomialLoss
sklearn._loss._loss.CyHalfSquaredError
sklearn._loss.link.IdentityLink
sklearn._loss.link.Interval
sklearn._loss.link.LogitLink
sklearn._loss.link.MultinomialLogit
sklearn._loss.loss.HalfBinomialLoss
sklearn._loss.loss.HalfMultinomialLoss
sklearn._loss.loss.HalfSquaredError
sklearn.compose._column_transformer.ColumnTransformer
sklearn.dummy.DummyClassifier
sklearn.ensemble._hist_gradient_boosting.binning._BinMapper
sklearn.ensemble._hist_gradient_boosting.gradient_boosting.HistGradientBoostingClassifier
sklearn.ensemble._hist_gradient_boosting.gradient_boosting.HistGradientBoostingRegressor
sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor
sklearn.impute._base.MissingIndicator
sklearn.impute._base.SimpleImputer
sklearn.linear_model._logistic.LogisticRegression
sklearn.linear_model._ridge.Ridge
sklearn.pipeline.Pipeline
sklearn.preprocessing._data.StandardScaler
sklearn.preprocessing._encoders.OneHotEncoder
sklearn.preprocessing._encoders.OrdinalEncoder
sklearn.preprocessing._function_transformer.FunctionTransformer
sklearn.preprocessing._label.LabelEncoder
sklearn.utils.validation.check_array
"""
_LOADERS, _TYPES = frozenset(_HOW.split()), frozenset(_NAMES.split())
"""How skops may make something, and what: what calls methods and operators by name is not among them."""
_OF_OTHERS = {"ReduceNode", "TreeNode"}
"""How types that a user trusts may be made besides."""
_MOST_BYTES = 2**31


def dump_estimators(estimators: list[Any]) -> dict[str, Any]:
    """Returns what `load_estimators` takes: bytes as an array, and the version of scikit-learn."""
    import sklearn
    import skops.io

    content = skops.io.dumps(estimators, compression=ZIP_DEFLATED)
    return {"estimators": np.frombuffer(content, dtype=np.uint8), "scikit_learn": sklearn.__version__}


def load_estimators(state: Any, trusted: Collection[str] = ()) -> list[Any]:
    """Returns the estimators that `dump_estimators` was given.

    Args:
        state: What it returned.
        trusted: Further types that may be made, "module.Class".

    Raises:
        CheckpointError: Another scikit-learn has saved them.
        ValueError: They hold a type that is not one of those that are saved, or are no estimators.
    """
    import sklearn
    import skops.io
    from sklearn.exceptions import InconsistentVersionWarning

    saved, here = str(state["scikit_learn"]), sklearn.__version__
    if saved.split(".")[:2] != here.split(".")[:2]:
        raise CheckpointError(
            f"load_model: a classical model must be read by the scikit-learn that saved it; got scikit-learn {saved}, "
            f"and this is {here}. Install scikit-learn=={saved}, or fit the model again."
        )
    content = np.asarray(state["estimators"]).tobytes()
    with ZipFile(BytesIO(content)) as packed:
        if sum(part.file_size for part in packed.infolist()) > _MOST_BYTES:
            raise ValueError(f"estimators must be at most {_MOST_BYTES} bytes")
        schema = json.loads(packed.read("schema.json"))
    types, loaders = _TYPES | set(trusted), _LOADERS | (_OF_OTHERS if trusted else set())
    for kind, loader in dict.fromkeys(_made(schema)):
        if kind not in types or loader not in loaders:
            raise ValueError(
                f"estimators must be made of the types that are saved; got {kind} ({loader}), neither ours nor in "
                "`trusted` of the model's class"
            )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InconsistentVersionWarning)  # a patch of the same version
        estimators = skops.io.loads(content, trusted=sorted(types))
    if not isinstance(estimators, list):
        raise ValueError(f"estimators must be a list; got {type(estimators).__name__}")
    return estimators


def _made(value: Any) -> Iterator[tuple[str, str]]:
    """Yields each type that a schema of skops names, and how it is made."""
    if isinstance(value, dict):
        if value.keys() & {"__class__", "__module__", "__loader__"}:
            yield f"{value.get('__module__')}.{value.get('__class__')}", str(value.get("__loader__"))
        for part in value.values():
            yield from _made(part)
    elif isinstance(value, list):
        for part in value:
            yield from _made(part)
