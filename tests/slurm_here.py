"""Starts a real SLURM of one node on this machine for the tests, with all its files in one folder of their own.

`python tests/slurm_here.py FOLDER` does the same by hand, and prints the variable that SLURM's commands need.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

PROGRAMS = ("slurmctld", "slurmd", "sbatch", "squeue", "scontrol")
CPUS = 2


class NotHere(Exception):
    """SLURM cannot be started on this machine, for the reason that is given."""


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def settings(folder: Path) -> str:
    """Return slurm.conf for one node. Nothing of it lies outside the folder, and no other daemon is needed."""
    host, user = socket.gethostname().split(".")[0], os.environ.get("USER") or "root"
    return f"""ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={free_port()}
SlurmdPort={free_port()}
AuthType=auth/none
CredType=cred/none
SlurmUser={user}
SlurmdUser={user}
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
KillWait=5
MinJobAge=60
PrologFlags=NoHold
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
NodeName={host} NodeAddr=127.0.0.1 CPUs={CPUS} RealMemory=2000 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def start(folder: Path) -> list[subprocess.Popen]:
    """Start SLURM with its files in the folder, and point SLURM_CONF at it. NotHere says why it cannot be."""
    if missing := [name for name in PROGRAMS if not shutil.which(name)]:
        raise NotHere(f"{missing[0]} is not installed (Debian: apt-get install slurm-wlm)")
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    (folder / "slurm.conf").write_text(settings(folder))
    os.environ["SLURM_CONF"] = str(folder / "slurm.conf")
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    daemons = [subprocess.Popen([name, "-D"], **quiet) for name in ("slurmctld", "slurmd")]
    for _ in range(100):
        if any(daemon.poll() is not None for daemon in daemons):
            break
        told = subprocess.run(["sinfo", "--noheader", "--format=%T"], capture_output=True, text=True)
        if told.stdout.strip() == "idle":
            return daemons
        time.sleep(0.2)
    said = [line for log in folder.glob("*.log") for line in log.read_text().splitlines() if "error" in line]
    stop(daemons)
    raise NotHere(f"SLURM does not start here: {said[-1] if said else 'without a word'}")


def stop(daemons: list[subprocess.Popen]) -> None:
    """End what start() began."""
    for daemon in daemons:
        daemon.send_signal(signal.SIGTERM)
    for daemon in daemons:
        try:
            daemon.wait(10)
        except subprocess.TimeoutExpired:
            daemon.kill()
    os.environ.pop("SLURM_CONF", None)


if __name__ == "__main__":
    began = start(Path(sys.argv[1]).absolute())
    print(f"export SLURM_CONF={os.environ['SLURM_CONF']}", flush=True)
    try:
        signal.pause()
    finally:
        stop(began)
