"""Results on disk: typed, versioned, whole, each with its provenance.

`RunFolder` holds the results of a run; ``docs/reference/format.md`` states every file.
"""

from coverslip.store.folder import RunFolder
from coverslip.store.graded import GradedTiles
from coverslip.store.header import Header
from coverslip.store.kinds.evaluation import Estimate, Evaluation, FoldEvaluation
from coverslip.store.kinds.stain import SlideStain
from coverslip.store.log import Event
from coverslip.store.provenance import Provenance, SlideRoot, fingerprint
from coverslip.store.values import Derived, Features, FeatureStream, LabelMap, Prediction, Resume, Table

__all__ = [
    "Derived",
    "Estimate",
    "Evaluation",
    "Event",
    "FeatureStream",
    "Features",
    "FoldEvaluation",
    "GradedTiles",
    "Header",
    "LabelMap",
    "Prediction",
    "Provenance",
    "Resume",
    "RunFolder",
    "SlideRoot",
    "SlideStain",
    "Table",
    "fingerprint",
]
