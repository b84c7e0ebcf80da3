"""The parts of the page Stress."""
