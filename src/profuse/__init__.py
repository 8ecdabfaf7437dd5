"""profuse: does fusing several kinds of data help, which way helps most, and what if one is noisy or missing?

    table or tensors -> encoders (embed, then mix) -> fusion -> head -> prediction
                              ^                          |
                              +------ feedback ----------+

Start here (all of it is imported when first used; `import profuse` alone loads no torch):

- `compare(data, target)`: the main job, a fair comparison of ways to fuse; returns a `Comparison` of `Results`.
- `fit(data, target)`: the best model: networks and classical ones together, with weights from held-out rows.
- `FusionClassifier`, `FusionRegressor`: scikit-learn estimators for tables and for dicts of arrays.
- `Schema`: what is in a table and what is predicted, where inference is to be overridden.
- `Dataset`, `from_tensors`, `load_dataset`: data by other doors than a file.
- `FusionModel`, `ProgressiveFusion`, `Tokens`: the parts, for models of your own.
- `check_fusion`: the contract, for an operator of your own.
- `Predictor`, `load_model`: what was fitted, to predict, measure, save and ask; what was saved, again.
- `register`: a name for a part of your own: an operator, an encoder, a metric, a data set, ...
- `ProfuseError`: the root of every error that is raised on purpose.

The map; imports go downward only:

    cli/            one command, one file
    comparison/     compare: any kind of data in, results and a report out
    estimators/     FusionClassifier, FusionRegressor
    retrieval/      one modality found by another
    imputation/     a modality that rows lack, filled in from the others
    tuning/         the options of a network, searched on validation rows
    streaming/      fits to more rows than memory holds
    inputs.py       what users hand over -> what the library works with
    portfolio/      several models, fitted out of fold, that predict together
    report/         results -> HTML, Markdown
    inspect/        questions to a fitted model         (add yours)
    testing/        check_fusion, check_encoder: the contract
    cluster/        fits on a Ray cluster
    training/       options, one loop, balancing methods (add yours), fitting on data and a split
    predictor/      what predicts, is measured, saved, loaded and asked
    models/         encoders, a fusion at one of five levels, a head; and names and options -> a model
    progressive/    the feedback loop, and nowhere else
    encoders/       raw modality -> tokens              (add yours)
    fusion/         tokens of all modalities -> one     (add yours)
    classical/      models that are no networks         (add yours)
    layers/         attention, sequence blocks, projection, Gaussians, generators, correlation: shared
    heads.py        joint vector -> outputs, loss, prediction rule
    datasets/       named data                          (add yours)
    data/           table or tensors -> split -> preprocessing fitted on train -> batches
    kinds/          all that is known of a kind of data (add yours)
    metrics/        scores of a prediction              (add yours)
    registry.py     the names of all parts, built in and of others
    tokens.py       the currency
    schema.py       what is in the data and what is predicted
    errors.py       what is raised, and how it is worded
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from profuse.comparison.compare import Comparison as Comparison
    from profuse.comparison.compare import compare as compare
    from profuse.comparison.results import Results as Results
    from profuse.data.dataset import Dataset as Dataset
    from profuse.data.tensors import from_tensors as from_tensors
    from profuse.datasets import load as load_dataset
    from profuse.errors import ProfuseError as ProfuseError
    from profuse.estimators.fusion import FusionClassifier as FusionClassifier
    from profuse.estimators.fusion import FusionRegressor as FusionRegressor
    from profuse.models.fusion_model import FusionModel as FusionModel
    from profuse.portfolio.fit import fit as fit
    from profuse.predictor import Predictor as Predictor
    from profuse.predictor import load_model as load_model
    from profuse.progressive import ProgressiveFusion as ProgressiveFusion
    from profuse.registry import register as register
    from profuse.schema import Schema as Schema
    from profuse.testing import check_fusion as check_fusion
    from profuse.tokens import Tokens as Tokens

    __version__: str

del TYPE_CHECKING  # what is imported here and stays would be a name of the package

_HOMES = {
    "Comparison": "profuse.comparison.compare:Comparison",
    "Dataset": "profuse.data.dataset:Dataset",
    "FusionClassifier": "profuse.estimators.fusion:FusionClassifier",
    "FusionModel": "profuse.models.fusion_model:FusionModel",
    "FusionRegressor": "profuse.estimators.fusion:FusionRegressor",
    "ProfuseError": "profuse.errors:ProfuseError",
    "Predictor": "profuse.predictor:Predictor",
    "ProgressiveFusion": "profuse.progressive:ProgressiveFusion",
    "Results": "profuse.comparison.results:Results",
    "Schema": "profuse.schema:Schema",
    "Tokens": "profuse.tokens:Tokens",
    "check_fusion": "profuse.testing:check_fusion",
    "compare": "profuse.comparison.compare:compare",
    "fit": "profuse.portfolio.fit:fit",
    "from_tensors": "profuse.data.tensors:from_tensors",
    "load_dataset": "profuse.datasets:load",
    "load_model": "profuse.predictor:load_model",
    "register": "profuse.registry:register",
}

__all__ = [
    "Comparison",
    "Dataset",
    "FusionClassifier",
    "FusionModel",
    "FusionRegressor",
    "Predictor",
    "ProfuseError",
    "ProgressiveFusion",
    "Results",
    "Schema",
    "Tokens",
    "check_fusion",
    "compare",
    "fit",
    "from_tensors",
    "load_dataset",
    "load_model",
    "register",
]


def __getattr__(name: str) -> object:
    from profuse._lookup import load, nearest

    if name == "__version__":
        from importlib.metadata import version

        result: object = version("profuse")
    elif name in _HOMES:
        result = load(_HOMES[name])
    else:
        close = nearest(name, __all__)
        hint = f"Did you mean {' or '.join(map(repr, close))}?" if close else f"It has {', '.join(__all__)}."
        raise AttributeError(f"module 'profuse' has no attribute {name!r}. {hint}")
    globals()[name] = result
    return result


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
