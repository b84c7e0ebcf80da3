"""These metrics measure whether an attacker can tell that a text was trained on."""
