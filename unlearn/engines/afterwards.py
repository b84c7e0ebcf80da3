"""Waits for the end of a carrier's process, and then clears away what it left: rows and answers are people's texts.

    python -m unlearn.engines.afterwards

reads its input to the end, which comes when whoever started it is gone. It loads nothing before that.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

# Seconds after which a process that has let go of the one has let go of its locks as well.
PATIENCE = 1.0


def watch() -> None:
    """Start a process that outlives this one, and clears its folders away however it ends, kill -9 too."""
    if os.name != "posix":
        return
    # The other end stays open for as long as this process lives.
    reader, _ = os.pipe()
    paths = [str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
    started = subprocess.Popen(
        [sys.executable, "-m", "unlearn.engines.afterwards"],
        stdin=reader,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
    )
    os.close(reader)
    started.wait()


def main() -> None:
    """Wait and clear away, in a child: who ends a process together with its own does not know its children's."""
    if os.fork():
        os._exit(0)
    while os.read(0, 2**12):
        pass
    time.sleep(PATIENCE)
    os.execv(sys.executable, [sys.executable, "-m", "unlearn.engines.folders"])


if __name__ == "__main__":
    main()
