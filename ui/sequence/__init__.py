"""The parts of the page Sequence."""
