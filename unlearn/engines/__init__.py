"""Decides where a record is carried out: today in a background thread with a queue."""
