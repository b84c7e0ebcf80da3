"""Readers of files, one for each kind: bytes of a stranger in, a Table of plain values out, within bounds."""
