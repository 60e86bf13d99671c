"""Numbers of addresses: finite, and no larger than any slide."""

from typing import Annotated

from fastapi import Path, Query

FARTHEST = 1e9
"""Level-0 pixels; the largest slides have half a million a side."""

COARSEST = 1e7
"""Level-0 pixels per pixel of a picture."""

Place = Annotated[float, Query(ge=-FARTHEST, le=FARTHEST, allow_inf_nan=False)]
Extent = Annotated[float, Query(gt=0, le=FARTHEST, allow_inf_nan=False)]
Share = Annotated[float, Query(ge=-1e6, le=1e6, allow_inf_nan=False)]
Downsample = Annotated[float, Query(le=COARSEST, allow_inf_nan=False)]
StepOfPath = Annotated[float, Path(gt=0, le=COARSEST, allow_inf_nan=False)]
