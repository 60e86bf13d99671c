"""Aggregators: from the features of all tiles of a bag to one prediction. Written from their papers."""

from coverslip.models.aggregators.registry import (
    AGGREGATORS,
    AggregatorCard,
    aggregator_card,
    build_aggregator,
    checked_parameters,
)

__all__ = ["AGGREGATORS", "AggregatorCard", "aggregator_card", "build_aggregator", "checked_parameters"]
