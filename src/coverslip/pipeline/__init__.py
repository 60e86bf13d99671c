"""Stages, recipes and the runner.

`run_recipe` takes slides through a `Recipe` and keeps the results in a run folder; `Pipeline` does the same
for one slide in memory.
"""

from coverslip.pipeline.execution import Execution
from coverslip.pipeline.memory import Pipeline, Results
from coverslip.pipeline.recipe import Recipe
from coverslip.pipeline.runner import Listener, RunResult, run_recipe
from coverslip.pipeline.slide_run import Outcome
from coverslip.pipeline.stage import Finishing, Stage
from coverslip.pipeline.status import RunStatus, SlideStatus, status_of

__all__ = [
    "Execution",
    "Finishing",
    "Listener",
    "Outcome",
    "Pipeline",
    "Recipe",
    "Results",
    "RunResult",
    "RunStatus",
    "SlideStatus",
    "Stage",
    "run_recipe",
    "status_of",
]
