"""The table that researchers read: every method at its defaults on TOFU, on a real model with a truth."""

from bench.tofu.lines import table

__all__ = ["table"]
