"""Opens the app: one Streamlit server with this project's settings, started from any folder.

The settings stand in .streamlit/config.toml beside app.py; here only what a person says differently is added. A
server that listens for other machines must also be called by a name that it knows: server.allowedHosts keeps out pages
of other sites that gave their own name this machine's address.
"""

import argparse
import math
import os
import socket
import subprocess
import sys
import tomllib
from collections.abc import Sequence

from unlearn.commands.parser import Parser, add_runs
from unlearn.results import classroom
from unlearn.store import environment
from unlearn.store.caps import Caps, caps, mode
from unlearn.store.home import HOME

CONFIG = HOME / ".streamlit" / "config.toml"
# These addresses are no names that a browser calls. They mean all addresses of this machine.
EVERY_ADDRESS = ("0.0.0.0", "::")
CLASS = (
    "Browsers on other machines are visitors: bundled models, no paths, and caps on queue, minutes, disk and uploads "
    "(docs/demo.md; --cap NAME=VALUE changes one, UNLEARN_DEMO=0 lifts all)."
)
# The server takes this process's place where the system can do that, so that a signal reaches the server itself.
REPLACES = os.name == "posix"


def parser() -> Parser:
    """Return the parser of `unlearn-studio`."""
    top = Parser(
        prog="unlearn-studio",
        description="Open the app. With a command behind it, as in `unlearn-studio run …`, it is the command line; "
        "`unlearn --help` lists the commands.",
    )
    top.add_argument("--host", help="address to listen on (default: 127.0.0.1, this machine alone)")
    top.add_argument("--port", type=port, default=None, help="port to listen on (default: 8501)")
    top.add_argument(
        "--name",
        action="append",
        default=[],
        help="a name by which browsers call the server, where a proxy stands before it (again for more)",
    )
    top.add_argument(
        "--cap",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a cap on what other browsers may use, such as run_minutes=10 (again for more; docs/demo.md lists them)",
    )
    add_runs(top)
    return top


def port(text: str) -> int:
    """Return the port's number.

    ArgumentTypeError, of which argparse makes a sentence, for a number out of range.
    """
    number = int(text)
    if not 1 <= number <= 65535:
        raise argparse.ArgumentTypeError(f"must be from 1 to 65535, got {text}")
    return number


def settings(host: str | None, at: int | None, called: Sequence[str] = ()) -> list[str]:
    """Return the words for streamlit that differ from config.toml. The list is empty where nothing was said.

    called: further names by which browsers call the server.
    """
    words = [] if at is None else ["--server.port", str(at)]
    if mode() == "demo":
        # A browser may send a file without asking the page; nothing larger than a demo takes is received at all.
        words += ["--server.maxUploadSize", str(max(1, math.ceil(caps().upload_mb)))]
    if host is None and not called:
        return words
    words += ["--server.address", host] if host is not None else []
    config = tomllib.loads(CONFIG.read_text(encoding="utf-8"))
    names = [*config["server"]["allowedHosts"], *(names_of(host) if host is not None else ()), *called]
    # An option given here replaces the file's list.
    for name in dict.fromkeys(names):
        words += ["--server.allowedHosts", name]
    return words


def names_of(host: str) -> list[str]:
    """Return the names by which a browser may call the server that listens on host.

    For every address these are this machine's own names.
    """
    if host not in EVERY_ADDRESS:
        return [host]
    names = [socket.gethostname(), socket.getfqdn()]
    try:
        found = socket.getaddrinfo(socket.gethostname(), None)
    # Where nobody knows the machine's name, its address has to be given as --host.
    except OSError:
        found = []
    return [*names, *(str(address[0]) for *_, address in found if "%" not in str(address[0]))]


def invitation(host: str, at: int | None, code: str) -> list[str]:
    """Return the lines for a class: the addresses that a browser on another machine may open, and the code, if any."""
    # An address of this machine alone is of use to nobody else.
    names = [
        name for name in dict.fromkeys(names_of(host)) if not name.startswith(("127.", "::1", "localhost"))
    ]
    port = at or tomllib.loads(CONFIG.read_text(encoding="utf-8"))["server"]["port"]
    lines = [
        f"Open http://{f'[{name}]' if ':' in name else name}:{port} from another machine." for name in names
    ]
    if code:
        lines.append(f"A class votes with the code {code}, on the page Lesson or under /lesson?class={code}.")
    return lines


def serve(words: list[str]) -> int:
    """Start the server, wait until it ends, and return its exit status."""
    args = parser().parse_args(words)
    os.environ[environment.RUNS.name] = str(args.runs.absolute())
    limits = ",".join(filter(None, (environment.CAPS.text(), *args.cap)))
    # What cannot be read is refused now and not by the first page.
    Caps.read(limits)
    os.environ[environment.CAPS.name] = limits
    if args.host is not None:
        os.environ[environment.DEMO.name] = environment.DEMO.text() or "class"
        if mode() == "class":
            print(CLASS)
        if mode() != "demo":
            # In a demo every visitor begins a vote of his own.
            os.environ.setdefault(environment.CLASS.name, classroom.new_code())
        print("\n".join(invitation(args.host, args.port, environment.CLASS.text())))
    called = [name.strip() for name in (*args.name, *environment.NAMES.text().split(",")) if name.strip()]
    command = [
        sys.executable,
        "-m",
        "streamlit",
        "run",
        str(HOME / "app.py"),
        *settings(args.host, args.port, called),
    ]
    if REPLACES:
        sys.stdout.flush()
        os.execv(sys.executable, command)
    return subprocess.call(command)
