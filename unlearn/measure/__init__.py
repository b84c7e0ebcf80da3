"""This room reads models: it scores texts, generates answers, takes probes and computes gradients."""
