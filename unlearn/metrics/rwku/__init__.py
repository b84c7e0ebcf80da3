"""These metrics belong to the RWKU benchmark."""
