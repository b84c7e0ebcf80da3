"""The metrics that look at the hidden states below the words."""
