"""Tests the metrics themselves: the same as `unlearn trust`, for whoever makes the records one after the other.

    python -m bench.trust                    all models that the record lacks
    python -m bench.trust --models 10        ten of them now

What was hoped for before measuring: UDS and the logit lens lead, ROUGE comes last, as published for a model of 1 B.
Writes assets/results/trust.json.
"""

import sys

from unlearn.__main__ import main

if __name__ == "__main__":
    sys.exit(main(["trust", *sys.argv[1:]]))
