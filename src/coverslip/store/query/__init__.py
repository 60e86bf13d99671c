"""Questions about the objects of a run, over all of its slides."""

from coverslip.store.query.expression import condition
from coverslip.store.query.query import Query
from coverslip.store.query.summary import summaries

__all__ = ["Query", "condition", "summaries"]
