"""The page Tokens: its figures."""
