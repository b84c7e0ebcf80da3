"""Carries out the work on a record: a run, a sweep, a sequence or a stress test."""
