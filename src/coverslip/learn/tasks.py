"""The kinds of task, as data: name → the frozen dataclass whose fields are the keys of TASK.yaml.

A task with several methods has a row for each, ``task/method``; the file then says ``method:`` as well.
Nothing is imported before it is asked for.
"""

from __future__ import annotations

TASKS: dict[str, str] = {
    "classify/slide": "coverslip.learn.classify.slide:SlideTask",
    "classify/tiles": "coverslip.learn.classify.tiles:TilesTask",
    "classify/bags": "coverslip.learn.bags.task:BagsTask",
    "detect": "coverslip.learn.detect.task:DetectTask",
    "nuclei-classes": "coverslip.learn.nuclei.classes:NucleiClassesTask",
    "segment": "coverslip.learn.segment.task:SegmentTask",
}
