"""Measures what is forgotten in every prompt format, and finds settings for runs in several formats."""

from bench.chat.lines import table

__all__ = ["table"]
