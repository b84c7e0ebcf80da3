"""Compares methods that are said to resist relearning with plain ones, at equal utility."""

from bench.robust.lines import table

__all__ = ["table"]
