"""The product as a package: what its metadata promise, what its wheel holds, and that the wheel works elsewhere.

The heavy tests build the wheel and install it into new environments, away from this folder. A new environment borrows
the packages of the one that runs the tests (they are what requirements.txt pins), so nothing is fetched; only the wheel
itself is installed. Other Pythons cannot borrow torch, which is built for one: there the wheel is tried as far as it
goes with the few packages that any Python can load.
"""

import ast
import itertools
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import sysconfig
import time
import tomllib
import urllib.error
import urllib.request
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

import unlearn
from unlearn.models import taught
from unlearn.store.home import ASSETS, HOME, INSTALLED

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PINS = dict(re.findall(r"^([\w-]+)==([\w.]+)", (ROOT / "requirements.txt").read_text(), re.MULTILINE))
EXTRAS = ("ray", "slurm", "tune", "eval", "mauve", "track", "gpu")
OTHER_NAMES = {"sklearn": "scikit-learn", "liger_kernel": "liger-kernel", "mauve": "mauve-text"} | {
    name: name.replace("_", "-") for name in ("rouge_score", "lm_eval")
}
FOUND_OR_NOT = {
    "spacy"
}  # noun phrases are finer with it; it comes with models of its own, so no extra brings it
# Come with a package that is required: torch, transformers, streamlit and datasets stand on them.
ALONG = {
    "huggingface_hub",
    "tokenizers",
    "starlette",
    "packaging",
    # Of the type checker alone: imported under TYPE_CHECKING.
    "_typeshed",
    "pyarrow",
    "uvicorn",
    "anyio",
    "fsspec",
    "yaml",
}
OTHER_PYTHONS = ("3.12", "3.13")
ANY_PYTHON = ("filelock", "packaging", "safetensors", "yaml")  # plain Python, or built for every Python
# Seconds for one page on a busy machine.
PATIENCE = 600
PAGES = sorted(path.stem for path in (ROOT / "pages").glob("*.py"))


def declared() -> list[Requirement]:
    project = PROJECT["project"]
    extras = [line for own in project["optional-dependencies"].values() for line in own]
    return [Requirement(line) for line in (*project["dependencies"], *extras)]


def test_ranges_hold_the_pinned_versions():
    needed = [Requirement(line) for line in PROJECT["project"]["dependencies"]]
    assert {one.name for one in needed} == set(PINS)
    assert not [str(one) for one in needed if not one.specifier.contains(PINS[one.name])]
    assert not [str(one) for one in declared() if not any(s.operator == ">=" for s in one.specifier)]
    assert tuple(PROJECT["project"]["optional-dependencies"]) == EXTRAS


def test_every_import_is_declared():
    named = {one.name for one in declared()}
    inside = {"unlearn", "ui", "pages", "app"}
    missing = set()
    for top in ("unlearn", "ui", "pages", "app.py"):
        for path in [ROOT / top] if top.endswith(".py") else (ROOT / top).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                found = [a.name for a in node.names] if isinstance(node, ast.Import) else []
                found += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                for name in {one.partition(".")[0] for one in found} - inside - ALONG - FOUND_OR_NOT:
                    if name not in sys.stdlib_module_names and OTHER_NAMES.get(name, name) not in named:
                        missing.add(f"{path.relative_to(ROOT)}: {name}")
    assert not missing


def test_the_checkout_is_home():
    assert not INSTALLED
    assert HOME == ROOT
    assert (ASSETS / "models" / "tiny-authors" / "model.safetensors").is_file()
    assert re.fullmatch(r"\d+\.\d+\.\d+", unlearn.__version__)


def test_everything_that_reads_an_asset_finds_it():
    from unlearn.claims import record
    from unlearn.data import snippets
    from unlearn.methods import METHODS
    from unlearn.models.catalogue import available
    from unlearn.results import measured

    assert available("tiny-authors")
    assert available("tiny-snippets")
    assert snippets.FILE.is_file()
    assert record.entries()
    assert any(measured.measured(method) for method in METHODS.values())


def test_every_test_belongs_to_make_test_or_to_make_slow():
    """One of the two that CI calls takes it, whatever marks it carries; what `make check` takes, `make test` does."""
    text = (ROOT / "Makefile").read_text()
    chosen = dict(re.findall(r"^(\w+): .*\n(?:\t.*\n)*?\t.*pytest.* -m \"(.+)\"", text, re.MULTILINE))
    quick = re.search(r"^QUICK := (.+)$", text, re.MULTILINE)[1]
    chosen = {name: rule.replace("$(QUICK)", quick) for name, rule in chosen.items()}
    assert set(chosen) == {"quick", "test", "slow"}
    assert re.search(r"^check: .*\n\t\$\(MAKE\) .* style quick$", text, re.MULTILINE)
    marks = [line.partition(":")[0] for line in PROJECT["tool"]["pytest"]["ini_options"]["markers"]]
    for has in itertools.product((False, True), repeat=len(marks)):
        own = dict(zip(marks, has, strict=True))
        takes = {name: eval(rule, {"__builtins__": {}}, own) for name, rule in chosen.items()}
        assert takes["test"] or takes["slow"], own
        assert takes["test"] or not takes["quick"], own
        assert not own["slow"] or not takes["quick"], own
    ci = (ROOT / ".ci" / "run").read_text()
    assert ci.splitlines()[-2:] == ["make test", "make slow"]
    assert all(one in (ROOT / "requirements-dev.txt").read_text() for one in ("pytest-xdist", "hatchling"))


@pytest.mark.slow
def test_a_quick_test_that_takes_long_fails_make_check():
    """`make check` itself keeps the rule for the mark `slow`. CPU seconds do not grow on a busy machine."""
    assert re.search(r"^quick: .*\n\t.*--longest 5$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    one = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/store/test_content.py"]
    quick, long = (
        subprocess.run([sys.executable, *one, "--longest", most], cwd=ROOT, capture_output=True, text=True)
        for most in ("60", "1e-6")
    )
    assert (quick.returncode, long.returncode) == (0, 1), long.stdout + long.stderr
    assert "make them cheaper or mark them slow" in long.stdout
    assert re.search(r"0\.\d s  tests/store/test_content.py::test_", long.stdout)
    assert "mark them slow" not in quick.stdout


# -- the wheel -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def wheel(tmp_path_factory) -> Path:
    """The wheel, built from a copy of what git tracks, so that a stray file here is not in it."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    for line in listed.stdout.splitlines():
        if (ROOT / line).is_file():  # not one that was deleted and not committed
            (source / line).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / line, source / line)
    words = ["wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(out), str(source)]
    subprocess.run([sys.executable, "-m", "pip", *words], check=True, cwd=out)
    return next(out.glob("*.whl"))


class Place:
    """A new environment with the wheel in it, and an empty folder to stand in."""

    def __init__(self, folder: Path, wheel: Path, python: str = sys.executable) -> None:
        self.bin, self.empty = folder / "env" / "bin", folder / "empty"
        subprocess.run([python, "-m", "venv", str(folder / "env")], check=True)
        self.packages = next((folder / "env" / "lib").glob("python*/site-packages"))
        borrowed = Path(sysconfig.get_path("purelib"))
        if python == sys.executable:
            (self.packages / "borrowed.pth").write_text(f"{borrowed}\n")
        else:
            for name in ANY_PYTHON:
                shutil.copytree(borrowed / name, self.packages / name)
        pip = [self.bin / "python", "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
        subprocess.run([*pip, "--force-reinstall", wheel], check=True, cwd=folder)
        self.empty.mkdir()
        hidden = ("PYTHONPATH", "UNLEARN_RUNS", "UNLEARN_ROOTS")
        rest = {name: value for name, value in os.environ.items() if name not in hidden}
        self.env = rest | {"HF_HUB_OFFLINE": "1"}

    def run(self, *words: str, timeout: int = 600) -> subprocess.CompletedProcess[str]:
        command = [str(self.bin / words[0]), *words[1:]]
        return subprocess.run(
            command, cwd=self.empty, env=self.env, capture_output=True, text=True, timeout=timeout
        )


@pytest.fixture(scope="session")
def place(tmp_path_factory, wheel) -> Place:
    return Place(tmp_path_factory.mktemp("installed"), wheel)


@pytest.mark.slow
@pytest.mark.heavy
def test_a_wheel_holds_what_it_needs_under_one_name(wheel):
    assert wheel.stat().st_size < 100 * 10**6
    names = zipfile.ZipFile(wheel).namelist()
    info = f"unlearn_studio-{unlearn.__version__}.dist-info"
    assert {name.partition("/")[0] for name in names} == {"unlearn", info}
    wanted = ["app.py", ".streamlit/config.toml", "ui/main.py", "ui/strip.js", "assets/icon.png",
              "assets/models/tiny-authors-retrain/model.safetensors", "assets/results/claims.json",
              "assets/data/snippets.jsonl", *(f"pages/{page}.py" for page in PAGES)]  # fmt: skip
    # The real model with a truth comes as three adapters.
    wanted += [f"assets/models/{taught.NAME}/{name}/{taught.ADAPTER}" for name in taught.WITHOUT]
    assert {f"unlearn/studio/{name}" for name in wanted} <= set(names)
    assert {"unlearn/py.typed", "unlearn/report/report.html", f"{info}/licenses/LICENSE"} <= set(names)
    assert not [name for name in names if name.endswith(".pyc")]


@pytest.mark.slow
@pytest.mark.heavy
def test_installed_it_runs_from_an_empty_folder(place):
    done = place.run(
        "unlearn-studio", *["run", "--model", "tiny-authors", "--method", "npo", "--epochs", "1", "--json"]
    )
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout.splitlines()[-1])
    assert made["state"] == "done"
    assert (place.empty / "runs" / Path(made["run"]).name / "results.json").is_file()
    listed = place.run("unlearn", "runs", "--json")
    assert [one["state"] for one in json.loads(listed.stdout)["runs"]] == ["done"]
    assert place.run("unlearn", "methods").returncode == 0
    assert not list(place.packages.glob("runs")), "a run must not lie among the packages"


@pytest.mark.slow
@pytest.mark.heavy
@pytest.mark.network
def test_installed_with_everything_that_it_needs(wheel, tmp_path):
    """Nothing borrowed: the pinned versions come from the index, and afterwards no network is needed."""
    subprocess.run([sys.executable, "-m", "venv", "env"], check=True, cwd=tmp_path)
    python, empty = tmp_path / "env" / "bin" / "python", tmp_path / "empty"
    pip = [python, "-m", "pip", "install", "--quiet", "-c", ROOT / "requirements.txt", wheel]
    subprocess.run(pip, check=True, cwd=tmp_path)
    subprocess.run([python, "-m", "pip", "check"], check=True, cwd=tmp_path)
    empty.mkdir()
    env = {
        name: value for name, value in os.environ.items() if not name.startswith(("UNLEARN_", "PYTHONPATH"))
    }
    words = [
        python.with_name("unlearn-studio"),
        *["run", "--model", "tiny-authors", "--method", "npo", "--json"],
    ]
    done = subprocess.run(words, cwd=empty, env=env | {"HF_HUB_OFFLINE": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["scores"]["after"]["forget"]["exact"] < 0.3
    assert [path.name for path in empty.iterdir()] == ["runs"]


@pytest.mark.slow
@pytest.mark.heavy
@pytest.mark.network
def test_the_lower_bounds_are_enough(wheel, tmp_path):
    """The oldest version of every package that pyproject.toml allows, beside the pinned torch, which is borrowed."""
    place = Place(tmp_path, wheel)
    needed = [Requirement(line) for line in PROJECT["project"]["dependencies"]]
    oldest = {one.name: next(s.version for s in one.specifier if s.operator == ">=") for one in needed}
    oldest["torch"] = PINS["torch"]
    pairs = [f"{name}=={version}" for name, version in oldest.items()]
    pip = [place.bin / "python", "-m", "pip", "install", "--quiet", *pairs]
    subprocess.run(pip, check=True, cwd=tmp_path)
    code = "from importlib.metadata import version; import sys; print(*(version(n) for n in sys.argv[1:]))"
    here = place.run("python", "-c", code, *oldest).stdout.split()
    wanted = [Version(version) for version in oldest.values()]
    assert [Version(Version(version).public) for version in here] == wanted
    for method in (["npo", "--tuning", "full"], ["undial", "--tuning", "lora"]):
        words = ["run", "--model", "tiny-authors", "--epochs", "1", "--json", "--method", *method]
        done = place.run("unlearn", *words)
        assert done.returncode == 0, done.stderr
    run = json.loads(done.stdout.splitlines()[-1])["run"]
    for words in (
        ["evaluate", run, "--metrics", "mia_min_k,forget_quality,separability"],
        ["report", run, "--out", "r.html"],
    ):
        done = place.run("unlearn", *words)
        assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.heavy
def test_installed_it_is_a_library(place):
    code = (
        "import sys, unlearn; print('torch' in sys.modules, unlearn.__version__);"
        "from unlearn.data import snippets; from unlearn.claims import record; from unlearn.store import provenance;"
        "print(len(snippets.snippets()) > 50, len(record.entries()) > 5, provenance.header()['commit'])"
    )
    done = place.run("python", "-c", code)
    assert done.returncode == 0, done.stderr
    here = unlearn.__version__
    assert done.stdout.split("\n")[:2] == [f"False {here}", f"True True installed {here}"]
    said = json.loads(place.run("python", "-m", "unlearn", "doctor", "--json").stdout)
    assert said["product"]["installed"]
    assert all(one["fits"] for one in said["packages"].values())
    assert set(said["extras"]) == set(EXTRAS)


@pytest.mark.slow
@pytest.mark.heavy
def test_installed_the_app_draws_every_page_behind_its_doors(place, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = place.env | {"STREAMLIT_SERVER_ENABLE_AGENT_API": "true"}
    # A page that takes longer than this is answered "still going", and the next one refused.
    env["STREAMLIT_SERVER_AGENT_WAIT_TIMEOUT"] = str(PATIENCE)
    log = (tmp_path / "log").open("w+")
    words = [place.bin / "unlearn-studio", "--port", str(port), "--runs", str(tmp_path / "store")]
    served = subprocess.Popen(words, cwd=place.empty, env=env, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(900):
            try:
                answer = urllib.request.urlopen(url, timeout=5)
                break
            except OSError:
                time.sleep(0.2)
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(urllib.request.Request(url, headers={"Host": "evil.example"}), timeout=20)
        assert caught.value.code == 400
        session = asked(url, {})["session_id"]
        for page in PAGES:
            said = asked(url, {"session_id": session, "page": page if page != "start" else ""})
            assert "Traceback" not in json.dumps(said), page
    finally:
        served.terminate()  # the process itself is the server: nothing is left behind it
        served.wait(PATIENCE)
    log.seek(0)
    assert "Traceback" not in log.read()
    with socket.socket() as line:
        assert line.connect_ex(("127.0.0.1", port))


def asked(url: str, what: dict[str, str]) -> dict:
    request = urllib.request.Request(
        f"{url}/_stcore/agent/interact",
        data=json.dumps(what).encode(),
        headers={"Content-Type": "application/json"},
    )
    return json.loads(urllib.request.urlopen(request, timeout=PATIENCE).read())


@pytest.mark.slow
@pytest.mark.heavy
@pytest.mark.parametrize("number", OTHER_PYTHONS)
def test_other_pythons_as_far_as_it_goes_without_torch(number, wheel, tmp_path):
    """Import, help, methods, a refused run; every file compiles. The public CI has torch for them, and tries more."""
    python = found_python(number)
    if python is None:
        pytest.skip(f"no Python {number} here")
    place = Place(tmp_path, wheel, python)
    assert place.run("python", "-m", "compileall", "-q", str(place.packages / "unlearn")).returncode == 0
    done = place.run("python", "-W", "error", "-c", "import unlearn; print(unlearn.__version__)")
    assert done.stdout.strip() == unlearn.__version__, done.stderr
    helped = place.run("unlearn", "--help")
    assert helped.returncode == 0, helped.stderr
    assert "doctor" in helped.stdout
    listed = place.run("unlearn", "methods", "--json")
    assert {"npo", "undial", "sisa"} < {one["name"] for one in json.loads(listed.stdout)["methods"]}, (
        listed.stderr
    )
    refused = place.run("unlearn", "run", "--model", "tiny-authors", "--method", "npo", "--lr", "7")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith("error: ")
    assert "lr" in refused.stderr
    said = json.loads(place.run("unlearn", "doctor", "--json").stdout)
    assert said["product"]["python"].startswith(number)
    assert any(note.startswith("torch: must be") for note in said["notes"])


def found_python(number: str) -> str | None:
    """A Python of this number that starts: on the path, or among pyenv's."""
    roots = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    named = [shutil.which(f"python{number}"), *map(str, sorted(roots.glob(f"{number}.*/bin/python")))]
    for path in filter(None, named):
        said = subprocess.run([path, "-c", "import sys; print(sys.version)"], capture_output=True, text=True)
        if said.returncode == 0 and said.stdout.startswith(number):
            return path
    return None
