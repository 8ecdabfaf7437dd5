"""scikit-learn estimators: `FusionClassifier` and `FusionRegressor`, their parameters, and how these are checked."""
