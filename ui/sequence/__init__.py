"""Holds the parts of the page Sequence."""
