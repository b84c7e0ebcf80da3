"""Writes what SmolLM2 says of the bundled capitals before a run, as it comes with the product.

    python -m bench.kept                       as a LoRA run reads it and as one of every weight does, some 2 minutes

A user's run of one epoch is carried out of each tuning, and its start's values are copied (bench/kept/__init__.py).
Expected before measuring: under 200 kB; a first run in a store as fast as a second (6 s less on two cores).
"""

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

from bench.defaults import carry_out, default_config
from bench.kept import noted, ship
from bench.record import header
from unlearn.measure import score_cache
from unlearn.models import smollm2
from unlearn.models.load import weights_hash
from unlearn.store.runs import RunStore

MODEL, METHOD = "smollm2", "undial"
TUNINGS = ("lora", "full")


def main() -> None:
    """Carry out a run of each tuning, and copy what was kept of its start."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--tunings", nargs="+", default=list(TUNINGS), choices=TUNINGS)
    options.add_argument("--out", type=Path, default=score_cache.SHIPPED)
    options.add_argument("--allow-dirty", action="store_true")
    args = options.parse_args()
    top = header(args.allow_dirty)
    files = noted({weights_hash(smollm2.path(), None)})
    with tempfile.TemporaryDirectory() as folder:
        # What ships already would be taken for what is read now.
        score_cache.SHIPPED = Path(folder) / "none"
        for tuning in args.tunings:
            config = replace(default_config(MODEL, METHOD, 0), tuning=tuning, epochs=1, probes=0)
            run, _ = carry_out(RunStore(Path(folder)), config)
            if run.state != "done":
                raise SystemExit(f"the run ended {run.state}: {run.reason}")
        print(f"{ship(files, args.out, top):,} bytes in {args.out}")


if __name__ == "__main__":
    main()
