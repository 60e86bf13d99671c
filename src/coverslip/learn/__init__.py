"""Learning from labelled slides, tiles and bags: tasks as YAML, the training loop, cross-validation.

A task is a frozen dataclass named in `coverslip.learn.tasks.TASKS` and read by `load_task`; `fit` is the one
training loop that all of them use.
"""

from coverslip.learn.fit import FitSpec, Fitted, fit
from coverslip.learn.task import Plan, Task, Trained, load_task
from coverslip.learn.tasks import TASKS
from coverslip.learn.told import Told

__all__ = ["TASKS", "FitSpec", "Fitted", "Plan", "Task", "Told", "Trained", "fit", "load_task"]
