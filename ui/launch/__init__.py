"""Holds the parts of the page Unlearn."""
