"""The metrics of the TOFU benchmark."""
