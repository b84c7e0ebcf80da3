"""Makes a language model forget, and shows what it still knows."""

__version__ = "0.2.0"
