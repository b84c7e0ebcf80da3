"""The metrics of whether an attacker can tell that a text was trained on."""
