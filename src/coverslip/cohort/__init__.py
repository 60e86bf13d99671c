"""Patients, cases, slides and labels; splits that do not leak, and a check that they do not."""

from coverslip.cohort.cohort import Cohort, Rows
from coverslip.cohort.confounding import Confounding, confounding
from coverslip.cohort.copies import Copies, find_copies
from coverslip.cohort.labels import Labels, Target
from coverslip.cohort.leakage import Leakage, check_leakage
from coverslip.cohort.split import given, holdout, split, split_as
from coverslip.cohort.splits import Fold, Splits, SplitSpec
from coverslip.cohort.tiles import TileCohort

__all__ = [
    "Cohort",
    "Confounding",
    "Copies",
    "Fold",
    "Labels",
    "Leakage",
    "Rows",
    "SplitSpec",
    "Splits",
    "Target",
    "TileCohort",
    "check_leakage",
    "confounding",
    "find_copies",
    "given",
    "holdout",
    "split",
    "split_as",
]
