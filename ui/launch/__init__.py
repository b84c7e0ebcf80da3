"""The parts of the page Unlearn."""
