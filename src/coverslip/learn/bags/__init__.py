"""Learning from bags: multiple-instance learning on the features of slides and cases."""

__all__: list[str] = []
