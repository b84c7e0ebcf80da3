"""This room works on tensors: hidden states, output head, packing, products, memory, threads."""
