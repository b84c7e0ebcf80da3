"""Work on a record: a run carried out, a sweep, a sequence, a stress test, and what is checked before."""
