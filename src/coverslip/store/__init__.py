"""Results on disk: typed, versioned, whole, each with its provenance.

`RunFolder` holds the results of a run; ``docs/reference/format.md`` states every file.
"""

from coverslip.store.folder import RunFolder
from coverslip.store.graded import GradedTiles
from coverslip.store.header import Header
from coverslip.store.kinds.evaluation import Estimate, Evaluation, FoldEvaluation
from coverslip.store.kinds.objects import Objects
from coverslip.store.kinds.stain import SlideStain
from coverslip.store.log import Event
from coverslip.store.maps import MapStream, StitchedMap
from coverslip.store.objects import ObjectStream, ObjectTable
from coverslip.store.provenance import Provenance, SlideRoot, fingerprint
from coverslip.store.streams import STREAMS
from coverslip.store.values import (
    Derived,
    Features,
    FeatureStream,
    LabelMap,
    Prediction,
    Resume,
    Table,
    ValueMap,
)

__all__ = [
    "STREAMS",
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
    "MapStream",
    "ObjectStream",
    "ObjectTable",
    "Objects",
    "Prediction",
    "Provenance",
    "Resume",
    "RunFolder",
    "SlideRoot",
    "SlideStain",
    "StitchedMap",
    "Table",
    "ValueMap",
    "fingerprint",
]
