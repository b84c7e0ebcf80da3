"""Tensors only: hidden states, the output head, packing, products, memory and threads."""
