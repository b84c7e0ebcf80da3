"""Holds the commands of `python -m unlearn`, one file for each subject.

Each file has an add() that declares its commands.
"""
