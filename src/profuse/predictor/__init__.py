"""Predictors: the unit that everything is asked of. A network and a classical model are both one; see `Predictor`."""

from profuse.predictor.base import Part, Predictor
from profuse.predictor.classical import ClassicalPredictor, Features
from profuse.predictor.decision import MOST_PROBABLE, Decision, check_two_classes
from profuse.predictor.in_pieces import RowsInPieces
from profuse.predictor.network import NetworkPredictor
from profuse.predictor.portfolio import MemberFacts, PortfolioPredictor, softened
from profuse.predictor.saving import load_model

__all__ = [
    "MOST_PROBABLE",
    "ClassicalPredictor",
    "Decision",
    "Features",
    "MemberFacts",
    "NetworkPredictor",
    "Part",
    "PortfolioPredictor",
    "Predictor",
    "RowsInPieces",
    "check_two_classes",
    "load_model",
    "softened",
]
