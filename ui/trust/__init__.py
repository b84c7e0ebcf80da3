"""Holds the parts of the page Trust, and what other pages show of a model's layers."""
