"""How good predictions are: metrics with intervals by patient, curves, comparisons, calibration."""

from coverslip.evaluate.classification import classification, ordinal
from coverslip.evaluate.multilabel import multilabel
from coverslip.evaluate.regression import regression
from coverslip.store import Estimate, Evaluation

__all__ = ["Estimate", "Evaluation", "classification", "multilabel", "ordinal", "regression"]
