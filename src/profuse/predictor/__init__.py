"""Predictors: the unit that everything is asked of. A network and a classical model are both one; see `Predictor`."""

from profuse.predictor.base import Part, Predictor
from profuse.predictor.classical import ClassicalPredictor, Features
from profuse.predictor.network import NetworkPredictor
from profuse.predictor.portfolio import MemberFacts, PortfolioPredictor, softened
from profuse.predictor.saving import load_model

__all__ = [
    "ClassicalPredictor",
    "Features",
    "MemberFacts",
    "NetworkPredictor",
    "Part",
    "PortfolioPredictor",
    "Predictor",
    "load_model",
    "softened",
]
