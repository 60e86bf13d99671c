"""Results that go to the disk as they come."""

from __future__ import annotations

from coverslip.store.maps import MapStream
from coverslip.store.objects import ObjectStream
from coverslip.store.values import FeatureStream

STREAMS = (FeatureStream, ObjectStream, MapStream)
"""Types of values that are written piece by piece and resumed after an interruption; each has `collect`."""
