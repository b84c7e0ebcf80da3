"""The house rules that a reader cannot see at a glance, read from the source with ast."""

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("unlearn", "ui", "pages")
FILES = sorted(p for top in FOLDERS for p in (ROOT / top).rglob("*.py") if "__pycache__" not in p.parts)
FILES.append(ROOT / "app.py")

# From bottom to top: a module may import from its own layer and from those below. What is not named is "library".
LAYERS = ("ground", "lm", "models", "data", "methods", "use", "execute", "runner", "top", "screen")
GROUND = (
    "memory",
    "threads",
    "disk",
    "config",
    "shapes",
    "records",
    "runs",
    "smollm2",
    "compare",
    "score_export",
    "svg",
    "plots",
    "tokenplots",
    "plots_gradient",
    "plots_sequence",
    "plots_stress",
    "verdict",
    "grid",
    "guide",
    "blind",
    "studies",
    "sweep_record",
    "sweep_table",
    "plots_sweep",
    "plots_claims",
)
PLACES = {
    **dict.fromkeys(GROUND, "ground"), "lm": "lm", "head": "lm", "packing": "lm", "kernels": "lm", "products": "lm",
    "tokens": "lm", "placement": "models", "lora": "models", "sources": "models", "allowed": "models",
    "precision": "models", "checkpointing": "lm", "models": "models", "reference": "models", "measured": "methods",
    "layers": "models", "tuning": "models", "ensemble": "models", "shards": "models",
    "data": "data", "methods": "methods", "metrics": "methods", "attacks": "use", "gradient": "methods",
    "train": "use", "evaluate": "use", "score_cache": "use", "probes": "use", "fusion": "use", "cost": "use",
    "shelf": "models", "prefixes": "use", "evidence": "use", "reader": "use", "judge": "execute", "ask": "execute",
    "execute": "execute", "execute_scoring": "execute", "execute_training": "execute", "execute_work": "execute",
    "runner": "runner", "preflight": "runner", "sweep": "top", "sequence": "top", "stress": "top", "report": "top",
    "report_texts": "top", "report_numbers": "top",
    "claims": "top", "transfer": "top", "__main__": "top", "commands": "top", "recipe": "data", "train_bundled": "data",
}  # fmt: skip
UNSAFE_MODULES = {"pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
UNSAFE_CALLS = {"torch.load", "eval", "exec", "pickle.load", "pickle.loads", "os.system"}
UNSAFE_WORDS = {"trust_remote_code", "unsafe_allow_html", "shell", "allow_pickle"}
BASE = ("unlearn.data.base", "unlearn.metrics.base")  # plain vocabulary, which every layer may speak


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def imports_of(path: Path) -> set[str]:
    """Modules of this repository and packages that a file imports, also inside its functions; not for typing."""
    found = set()
    tree = tree_of(path)
    typing = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if node in typing:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: import by full name"
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names if node.module == "unlearn"}
    return found


def layer_of(module: str) -> str | None:
    parts = module.split(".")
    if parts[0] in ("ui", "pages", "app"):
        return "screen"
    if parts[0] != "unlearn" or len(parts) == 1:
        return None
    return PLACES.get(parts[1])


def test_every_module_has_a_place():
    known = {layer_of(name_of(path)) for path in FILES if name_of(path) != "unlearn"}
    missing = [name_of(p) for p in FILES if name_of(p) != "unlearn" and layer_of(name_of(p)) is None]
    assert not missing, f"say in PLACES where they stand: {missing}"
    assert known == set(LAYERS)


def test_no_import_points_up():
    bad = []
    for path in FILES:
        mine = layer_of(name_of(path))
        for module in sorted(imports_of(path)) if mine else ():
            other = layer_of(module)
            if other and module not in BASE and LAYERS.index(other) > LAYERS.index(mine):
                bad.append(f"{name_of(path)} ({mine}) imports {module} ({other})")
    assert not bad


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
    from unlearn.methods import METHODS
    from unlearn.metrics import METRICS

    def own(folder):
        return {p.stem for p in (ROOT / "unlearn" / folder).glob("*.py")} - {"__init__", "base"}

    used = {cls.__module__.rsplit(".", 1)[1] for cls in METHODS.values()}
    assert used <= own("methods")
    listed = imports_of(ROOT / "unlearn" / "metrics" / "__init__.py")
    helpers = {m.rsplit(".", 1)[1] for p in (ROOT / "unlearn" / "metrics").glob("*.py") for m in imports_of(p)
               if m.startswith("unlearn.metrics.")}  # fmt: skip
    assert (
        own("metrics") <= {m.rsplit(".", 1)[1] for m in listed if m.startswith("unlearn.metrics.")} | helpers
    )
    assert all(METRICS)
