"""This room holds the datasets: rows by role, bundled sets, and readers of a person's own files."""
