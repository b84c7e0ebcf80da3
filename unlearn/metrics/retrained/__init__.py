"""The metrics that compare with a model that never saw the forget texts."""
