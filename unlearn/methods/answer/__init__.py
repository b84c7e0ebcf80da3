"""These methods teach another answer in the place of the one to forget."""
