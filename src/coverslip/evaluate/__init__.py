"""How good predictions are: metrics with intervals by patient, curves, comparisons, calibration."""

from coverslip.evaluate.calibrate import Temperature
from coverslip.evaluate.classification import classification, ordinal
from coverslip.evaluate.compare import Comparison, compare
from coverslip.evaluate.multilabel import multilabel
from coverslip.evaluate.predictions import Predictions
from coverslip.evaluate.regression import regression
from coverslip.evaluate.runs import evaluate_run
from coverslip.evaluate.tables import Reading, read_predictions, targets
from coverslip.store import Estimate, Evaluation

__all__ = [
    "Comparison",
    "Estimate",
    "Evaluation",
    "Predictions",
    "Reading",
    "Temperature",
    "classification",
    "compare",
    "evaluate_run",
    "multilabel",
    "ordinal",
    "read_predictions",
    "regression",
    "targets",
]
