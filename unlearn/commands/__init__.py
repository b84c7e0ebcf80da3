"""The commands of `python -m unlearn`: one file a subject, each with an add() that declares its commands."""
