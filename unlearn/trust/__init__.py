"""This room tests the metrics themselves: small models that hold the knowledge, and others that never had it."""
