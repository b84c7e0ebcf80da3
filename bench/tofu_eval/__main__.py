"""Carries out `python -m bench.tofu_eval`."""

from bench.tofu_eval import main

main()
