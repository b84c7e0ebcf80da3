"""Runs the measurement of EUL's two settings."""

from bench.eul import main

main()
