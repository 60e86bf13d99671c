"""Stages, recipes and the runner.

`run_recipe` takes slides through a `Recipe` and keeps the results in a run folder; `Pipeline` does the same
for one slide in memory.
"""

from coverslip.pipeline.execution import Execution
from coverslip.pipeline.limits import Limit
from coverslip.pipeline.memory import Pipeline, Results, run_stage
from coverslip.pipeline.recipe import Recipe
from coverslip.pipeline.runner import Listener, RunResult, run_recipe
from coverslip.pipeline.slide_run import Outcome
from coverslip.pipeline.stage import Casewise, Finishing, Following, Naming, Stage
from coverslip.pipeline.status import RunStatus, SlideStatus, status_of
from coverslip.pipeline.step import Step

__all__ = [
    "Casewise",
    "Execution",
    "Finishing",
    "Following",
    "Limit",
    "Listener",
    "Naming",
    "Outcome",
    "Pipeline",
    "Recipe",
    "Results",
    "RunResult",
    "RunStatus",
    "SlideStatus",
    "Stage",
    "Step",
    "run_recipe",
    "run_stage",
    "status_of",
]
