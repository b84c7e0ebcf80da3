"""This room finds models and loads, places, tunes and bundles them."""
