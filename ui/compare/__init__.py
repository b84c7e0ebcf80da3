"""Holds the parts of the page Compare."""
