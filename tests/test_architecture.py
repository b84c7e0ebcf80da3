"""The house rules that a reader cannot see at a glance, read from the source with ast.

THE_RULE is the one line: a folder imports only folders to the left of its own bar; on one floor no folder imports
another. What stands after the double bar is no library: it may import every room, but not another of its own floor.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

THE_RULE = (
    "store compute | data | metrics | training | models | methods | measure results | figures | report attacks "
    "| work | engines | claims trust | commands || ui bench | pages app"
)
FLOORS = [floor.split() for floor in THE_RULE.replace("||", "|").split("|")]
FLOOR = {room: at for at, rooms in enumerate(FLOORS) for room in rooms}
LIBRARY = [room for floor in THE_RULE.split("||")[0].split("|") for room in floor.split()]
# Importing these rooms must import none of HEAVY, so that a page or a refusal is there at once.
TORCH_FREE = (
    "store",
    "data",
    "metrics",
    "methods",
    "attacks",
    "results",
    "figures",
    "report",
    "models.catalogue",
)
HEAVY = ("torch", "transformers", "pandas", "sklearn", "scipy", "datasets")
# An import inside a function hides the graph; it is worth that only where it keeps one of these away.
COSTLY = (*HEAVY, "plotly", "peft", "tokenizers", "accelerate", "safetensors", "huggingface_hub")
MOST_MODULES = 25

ROOT = Path(__file__).resolve().parent.parent
TOPS = ("unlearn", "ui", "pages", "bench")


def files_of(root: Path) -> list[Path]:
    found = sorted(p for top in TOPS for p in (root / top).rglob("*.py") if "__pycache__" not in p.parts)
    return [*found, *(p for p in [root / "app.py"] if p.exists())]


FILES = [p for p in files_of(ROOT) if p.relative_to(ROOT).parts[0] != "bench"]
UNSAFE_MODULES = {"pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
UNSAFE_CALLS = {"torch.load", "eval", "exec", "pickle.load", "pickle.loads", "os.system"}
UNSAFE_WORDS = {"trust_remote_code", "unsafe_allow_html", "shell", "allow_pickle"}


def name_of(path: Path, root: Path = ROOT) -> str:
    return ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def import_nodes(path: Path) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    """Each import of a file that is not for typing alone, with whether it stands in a function."""

    def inside(node: ast.AST, late: bool) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
                continue
            if isinstance(child, ast.Import | ast.ImportFrom):
                yield child, late
            yield from inside(child, late or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef))

    return inside(tree_of(path), False)


def names_of(node: ast.Import | ast.ImportFrom) -> set[str]:
    """What an import may bring: the module, and each name out of it, which may be a module too."""
    if isinstance(node, ast.Import):
        return {alias.name for alias in node.names}
    return {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}


@cache
def imports_of(path: Path) -> set[str]:
    """Modules of this repository and packages that a file imports, also inside its functions; not for typing."""
    found: set[str] = set()
    for node, _ in import_nodes(path):
        assert isinstance(node, ast.Import) or node.level == 0, f"{path}: import by full name"
        found |= names_of(node)
    return found


def heavy_at_import(root: Path) -> dict[str, set[str]]:
    """{module: what of COSTLY its import brings, by itself or by what it imports at its top}."""
    files = {name_of(path, root): path for path in files_of(root)}
    top = {
        n: {m for node, late in import_nodes(p) if not late for m in names_of(node)} for n, p in files.items()
    }

    def reached(name: str) -> set[str]:
        seen, todo = set(), [name]
        while todo:
            one = todo.pop()
            if one not in seen:
                seen.add(one)
                folders = {one.rsplit(".", at)[0] for at in range(1, one.count(".") + 1)}
                todo += (top[one] | folders) & files.keys()
        return {m.split(".")[0] for one in seen for m in top[one]} & set(COSTLY)

    return {name: reached(name) for name in files}


def needless(root: Path) -> list[str]:
    """Imports of our own modules inside functions that do not keep a costly package away from who imports this file."""
    heavy_by, bad = heavy_at_import(root), []
    for path in files_of(root):
        name = name_of(path, root)
        for node, late in import_nodes(path):
            own = names_of(node) & heavy_by.keys() if late else set()
            if own and not any(heavy_by[m] - heavy_by[name] for m in own):
                bad.append(f"{name}:{node.lineno} {ast.unparse(node)}")
    return bad


def room_of(module: str) -> str | None:
    """The room that a module stands in; None for the packages of others and for what stands outside the order."""
    parts = module.split(".")
    if parts[0] in FLOOR and parts[0] not in LIBRARY:
        return parts[0]
    return parts[1] if parts[0] == "unlearn" and len(parts) > 1 and parts[1] in FLOOR else None


def homeless(root: Path) -> list[str]:
    """Modules of the library that no room of the rule holds."""
    outside = {"unlearn", "unlearn.__main__"}
    names = [name_of(p, root) for p in files_of(root)]
    return [
        name for name in names if name.startswith("unlearn") and not room_of(name) and name not in outside
    ]


def upward(root: Path) -> list[str]:
    """Imports that point up or to a neighbour of the same floor, also those inside functions; not those for typing."""
    bad = []
    for path in files_of(root):
        own = room_of(name_of(path, root))
        known = imports_of(path)
        for module in sorted(m for m in known if m.rpartition(".")[0] not in known) if own else ():
            other = room_of(module)
            if other and other != own and FLOOR[other] >= FLOOR[own]:
                bad.append(f"{name_of(path, root)} imports {module}")
            if module.split(".")[:2] in (["unlearn", "__main__"],) and own in LIBRARY:
                bad.append(f"{name_of(path, root)} imports {module}")
    return bad


def circles(root: Path) -> list[list[str]]:
    """Groups of modules that reach each other by imports, also by those inside functions (Tarjan)."""
    files = {name_of(path, root): path for path in files_of(root)}
    graph = {name: sorted(imports_of(path) & files.keys() - {name}) for name, path in files.items()}
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for other in graph[name]:
            if other not in index:
                visit(other)
            if other in stack:
                low[name] = min(low[name], low[other])
        if low[name] == index[name]:
            group = stack[stack.index(name) :]
            del stack[stack.index(name) :]
            if len(group) > 1:
                found.append(sorted(group))

    for name in graph:
        if name not in index:
            visit(name)
    return found


def heavy(root: Path, modules: list[str]) -> str:
    """What of HEAVY a fresh process has imported after these modules; nothing is the right answer."""
    code = "import sys\n" + "".join(f"import {m}\n" for m in modules)
    code += f"print(*(name for name in {HEAVY} if name in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True, timeout=120
    )
    return done.stdout.strip()


def of_rooms(root: Path, rooms: tuple[str, ...]) -> list[str]:
    names = [name_of(path, root) for path in files_of(root)]
    return [n for n in names if any(n == f"unlearn.{r}" or n.startswith(f"unlearn.{r}.") for r in rooms)]


def test_every_module_has_a_room():
    assert not homeless(ROOT)
    for room in LIBRARY:
        assert (ROOT / "unlearn" / room).is_dir(), room


def test_no_import_points_up():
    assert not upward(ROOT)


def test_there_is_no_circle():
    assert not circles(ROOT)


def test_torch_free_rooms_import_no_torch():
    assert heavy(ROOT, of_rooms(ROOT, TORCH_FREE)) == ""


def test_an_import_inside_a_function_buys_something():
    assert not needless(ROOT)


def test_no_room_is_a_warehouse():
    folders = {path.parent for path in files_of(ROOT)}
    counts = {f: len([p for p in f.glob("*.py") if p.name != "__init__.py"]) for f in folders}
    assert not {f.name: n for f, n in counts.items() if n > MOST_MODULES}
    assert len(list((ROOT / "unlearn").glob("*.py"))) <= 3


@pytest.fixture
def house(tmp_path: Path) -> Iterator[Path]:
    """A small house that keeps the rules, for planting what breaks them."""
    for room in LIBRARY:
        (tmp_path / "unlearn" / room).mkdir(parents=True)
        (tmp_path / "unlearn" / room / "__init__.py").write_text("")
    (tmp_path / "unlearn" / "__init__.py").write_text("")
    (tmp_path / "unlearn" / "store" / "runs.py").write_text("import json\n")
    (tmp_path / "unlearn" / "work" / "execute.py").write_text("from unlearn.store import runs\n")
    yield tmp_path
    imports_of.cache_clear()
    tree_of.cache_clear()


def test_the_rules_notice_what_breaks_them(house):
    assert not upward(house)
    assert not circles(house)
    assert not homeless(house)
    (house / "unlearn" / "store" / "bad.py").write_text("def f():\n    from unlearn.work.execute import g\n")
    (house / "unlearn" / "measure" / "side.py").write_text("import unlearn.results.grid\n")
    (house / "unlearn" / "loose.py").write_text("")
    assert upward(house) == [
        "unlearn.measure.side imports unlearn.results.grid",
        "unlearn.store.bad imports unlearn.work.execute",
    ]
    assert homeless(house) == ["unlearn.loose"]


def test_a_planted_circle_is_found(house):
    (house / "unlearn" / "compute" / "a.py").write_text("from unlearn.compute import b\n")
    (house / "unlearn" / "compute" / "b.py").write_text("def f():\n    from unlearn.compute.a import g\n")
    assert circles(house) == [["unlearn.compute.a", "unlearn.compute.b"]]


def test_a_planted_late_import_is_found_where_it_buys_nothing(house):
    (house / "unlearn" / "compute" / "head.py").write_text("import torch\n")
    (house / "unlearn" / "models" / "load.py").write_text(
        "def f():\n    from unlearn.compute.head import g\n"
    )
    assert not needless(house)
    (house / "unlearn" / "work" / "train.py").write_text(
        "import torch\ndef f():\n    from unlearn.compute import head\n    from unlearn.store import runs\n"
    )
    assert needless(house) == [
        "unlearn.work.train:3 from unlearn.compute import head",
        "unlearn.work.train:4 from unlearn.store import runs",
    ]


@pytest.mark.slow
def test_planted_torch_is_found(house):
    (house / "unlearn" / "figures" / "heavy.py").write_text("import torch\n")
    assert heavy(house, of_rooms(house, ("store",))) == ""
    assert heavy(house, of_rooms(house, ("figures",))) == "torch"
    (house / "unlearn" / "data" / "heavy.py").write_text("import pandas\n")
    assert heavy(house, of_rooms(house, ("data",))) == "pandas"


def test_the_library_knows_no_screen():
    screens = {"streamlit", "ui", "pages", "app"}
    library = [path for path in FILES if name_of(path).startswith("unlearn.")]
    assert len(library) > 40
    assert not [name_of(path) for path in library if {m.split(".")[0] for m in imports_of(path)} & screens]


def test_a_first_line_says_what_each_file_is_for():
    def said(path):
        return len((ast.get_docstring(tree_of(path)) or "").split())

    assert not [name_of(p) for p in FILES if said(p) < 4 and p.read_text(encoding="utf-8").strip()]


def test_nothing_runs_code_of_others():
    """No pickle, no torch.load, no remote code, no raw HTML on a page."""
    bad = []
    for path in FILES:
        bad += [f"{name_of(path)} imports {m}" for m in imports_of(path) & UNSAFE_MODULES]
        for call in (node for node in ast.walk(tree_of(path)) if isinstance(node, ast.Call)):
            words = {w.arg: w.value for w in call.keywords}
            said = {w for w in UNSAFE_WORDS & words.keys() if ast.unparse(words[w]) != "False"}
            if ast.unparse(call.func) in UNSAFE_CALLS or said:
                bad.append(f"{name_of(path)}:{call.lineno} {ast.unparse(call)[:80]}")
    assert not bad


def test_nobody_asks_which_method_it_is():
    asks = re.compile(r"\bmethod(\.name)?\b (==|!=|in|not in) ['\"(\[{]")
    compared = [(p, n) for p in FILES for n in ast.walk(tree_of(p)) if isinstance(n, ast.Compare)]
    assert not [f"{name_of(p)}:{n.lineno}" for p, n in compared if asks.search(ast.unparse(n))]


def test_every_method_and_metric_file_is_in_its_list():
    """Each file of a family is imported by the list of its room, or by another file of the room."""
    for room in ("methods", "metrics"):
        folder = ROOT / "unlearn" / room
        assert {p.name for p in folder.glob("*.py")} == {"__init__.py", "base.py"}, room
        used = {m for p in folder.rglob("*.py") for m in imports_of(p)}
        files = [name_of(p) for p in folder.glob("*/*.py") if p.name != "__init__.py"]
        assert len(files) >= 20
        assert not [name for name in files if name not in used]
