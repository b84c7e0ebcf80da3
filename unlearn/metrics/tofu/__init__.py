"""These metrics belong to the TOFU benchmark."""
