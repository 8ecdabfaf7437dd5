"""Fitted estimators of scikit-learn as bytes and back, without pickle: no type is made that is not listed here."""

from __future__ import annotations

import json
import warnings
from collections.abc import Collection, Iterator
from io import BytesIO
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np

from profuse.errors import CheckpointError, ConfigError

__all__ = ["dump_estimators", "load_estimators"]

_HOW = """
DictNode DTypeNode FunctionNode JsonNode ListNode LossNode NdArrayNode ObjectNode PartialNode RandomGeneratorNode
SliceNode TupleNode TypeNode
"""
_NAMES = """
builtins.dict builtins.int builtins.list builtins.slice builtins.str builtins.tuple
functools.partial
numpy.dtype numpy.float64 numpy.ndarray numpy.random._generator.Generator numpy.uint64
profuse.classical._columns.BoundedRidge
profuse.classical._columns.Columns
profuse.classical._columns.OnLogarithm
sklearn._loss._loss.CyHalfBinomialLoss
sklearn._loss._loss.CyHalfMultinomialLoss
sklearn._loss._loss.CyHalfSquaredError
sklearn._loss._loss.CyPinballLoss
sklearn._loss.link.IdentityLink
sklearn._loss.link.Interval
sklearn._loss.link.LogitLink
sklearn._loss.link.MultinomialLogit
sklearn._loss.loss.HalfBinomialLoss
sklearn._loss.loss.HalfMultinomialLoss
sklearn._loss.loss.HalfSquaredError
sklearn._loss.loss.PinballLoss
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
_NAMES_OF_SKLEARN = """
numpy.dtype
sklearn._loss.loss.HalfTweedieLoss
sklearn._loss.loss.HalfTweedieLossIdentity
sklearn.calibration._CalibratedClassifier
sklearn.calibration._SigmoidCalibration
sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor
sklearn.feature_selection._mutual_info.mutual_info_classif
sklearn.feature_selection._mutual_info.mutual_info_regression
sklearn.feature_selection._univariate_selection.f_classif
sklearn.feature_selection._univariate_selection.f_regression
sklearn.gaussian_process._gpc._BinaryGaussianProcessClassifierLaplace
sklearn.gaussian_process.kernels.CompoundKernel
sklearn.gaussian_process.kernels.ConstantKernel
sklearn.gaussian_process.kernels.DotProduct
sklearn.gaussian_process.kernels.ExpSineSquared
sklearn.gaussian_process.kernels.Exponentiation
sklearn.gaussian_process.kernels.Matern
sklearn.gaussian_process.kernels.Product
sklearn.gaussian_process.kernels.RationalQuadratic
sklearn.gaussian_process.kernels.RBF
sklearn.gaussian_process.kernels.Sum
sklearn.gaussian_process.kernels.WhiteKernel
sklearn.metrics._scorer._PassthroughScorer
sklearn.model_selection._split.KFold
sklearn.model_selection._split.StratifiedKFold
sklearn.neural_network._stochastic_optimizers.AdamOptimizer
sklearn.neural_network._stochastic_optimizers.SGDOptimizer
sklearn.tree._tree.Tree
sklearn.utils._bunch.Bunch
"""
_OF_SKLEARN = frozenset(_NAMES_OF_SKLEARN.split())
"""Types of scikit-learn beside those that skops trusts: plain Python, or trees, which `check_trees` looks at."""
_MOST_BYTES = 2**31


def dump_estimators(
    estimators: list[Any], trusted: Collection[str] = (), *, any_of_sklearn: bool = False, name: str = "estimators"
) -> dict[str, Any]:
    """Returns what `load_estimators` takes: bytes as an array, and the version of scikit-learn.

    Args:
        estimators: Fitted.
        trusted: Further types that may be made, "module.Class".
        any_of_sklearn: See `load_estimators`.
        name: Of the model, for messages.

    Raises:
        ConfigError: They hold a type that `load_estimators` would refuse, or what skops cannot keep.
    """
    import sklearn
    import skops.io

    try:
        content = skops.io.dumps(estimators, compression=ZIP_DEFLATED)
    except Exception as error:  # an attribute of any type may fail in its own way
        raise ConfigError(
            f"{name}: what is fitted must be such that skops saves it; got {type(error).__name__}: "
            f"{' '.join(str(error).split())[:300]}. Use another estimator."
        ) from error
    unknown = _unknown(content, trusted, any_of_sklearn)
    if unknown:
        raise ConfigError(
            f"{name}: what is fitted must hold types that are loaded again; got {', '.join(unknown)}. Use an estimator "
            f"without them, or name them in `trusted` of what is registered if you trust files that hold them."
        )
    return {"estimators": np.frombuffer(content, dtype=np.uint8), "scikit_learn": sklearn.__version__}


def load_estimators(state: Any, trusted: Collection[str] = (), *, any_of_sklearn: bool = False) -> list[Any]:
    """Returns the estimators that `dump_estimators` was given.

    Args:
        state: What it returned.
        trusted: Further types that may be made, "module.Class".
        any_of_sklearn: Whether all types of scikit-learn may be made that skops trusts, and those whose trees the
            caller checks, in place of the short list of our own models.

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
    if unknown := _unknown(content, trusted, any_of_sklearn):
        raise ValueError(
            f"estimators must be made of the types that are saved; got {', '.join(unknown)}, neither ours nor in "
            "`trusted` of what is registered under the model's name"
        )
    types = {*trusted, *(_OF_SKLEARN if any_of_sklearn else _TYPES)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InconsistentVersionWarning)  # a patch of the same version
        estimators = skops.io.loads(content, trusted=sorted(types))
    if not isinstance(estimators, list):
        raise ValueError(f"estimators must be a list; got {type(estimators).__name__}")
    return estimators


def _unknown(content: bytes, trusted: Collection[str], any_of_sklearn: bool) -> list[str]:
    """Returns the types in saved estimators that are not made again; nothing is made here.

    Raises:
        ValueError: They are too large.
    """
    import skops.io

    with ZipFile(BytesIO(content)) as packed:
        if sum(part.file_size for part in packed.infolist()) > _MOST_BYTES:
            raise ValueError(f"estimators must be at most {_MOST_BYTES} bytes")
        schema = json.loads(packed.read("schema.json"))
    if any_of_sklearn:
        return sorted(set(skops.io.get_untrusted_types(data=content)) - _OF_SKLEARN - set(trusted))
    types, loaders = _TYPES | set(trusted), _LOADERS | (_OF_OTHERS if trusted else set())
    return sorted({f"{kind} ({how})" for kind, how in _made(schema) if kind not in types or how not in loaders})


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
