"""Holds the parts of the page Runs."""
