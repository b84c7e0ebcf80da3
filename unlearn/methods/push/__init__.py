"""These methods push the forget texts away. Their loss rises, with or without a bound."""
