"""Compares a search for settings with the shipped ones, with a grid and with the tuning guide, at equal budgets."""

from bench.tune.lines import table

__all__ = ["table"]
