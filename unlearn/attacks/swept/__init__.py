"""Holds the attacks that a sweep tries in many settings; unlearn.attacks.CELLS puts them in order."""
