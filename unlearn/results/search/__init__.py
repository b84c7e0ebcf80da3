"""Holds what a search for settings is: its space, its folder, and what came of it. No torch, no Optuna."""
