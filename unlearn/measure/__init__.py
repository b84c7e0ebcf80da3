"""What is read from a model: texts scored, answers generated, probes, gradients."""
