"""torch and transformers are imported with the cycle collector at rest, and without what only a call needs."""

import subprocess
import sys
import threading

import pytest

from unlearn.compute import libraries


def in_fresh_process(code: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.slow
def test_the_collector_rests_while_they_come_and_works_afterwards():
    code = """
import gc
from unlearn.compute.libraries import ready
ran = []
gc.callbacks.append(lambda phase, info: ran.append(phase))
ready()
print(len(ran), gc.isenabled(), gc.get_freeze_count() > 100_000)
gc.disable()
from unlearn.compute.libraries import collector_resting
with collector_resting(): pass
print(gc.isenabled())
import sys
print({"torch", "transformers.modeling_utils"} <= set(sys.modules))
"""
    assert in_fresh_process(code) == ["0 True True", "False", "True"]


@pytest.mark.slow
def test_nothing_of_the_caller_is_kept():
    """Errors swallowed during an import held the frame of the first run, and so its model, for ever."""
    code = """
import gc, weakref
from unlearn.compute.libraries import ready

class Model: pass

def run():
    model = Model()
    ready()
    return weakref.ref(model)

gone = run()
gc.collect()
print(gone() is None)
"""
    assert in_fresh_process(code) == ["True"]


def test_whoever_takes_more_of_a_module_at_once_gets_the_module():
    """Transformers 5.0 imports scikit-learn on the way, which wants all of scipy."""
    code = """
import sys
from unlearn.compute.libraries import called_for
with called_for("scipy.optimize", "linear_sum_assignment"):
    from scipy.optimize import linear_sum_assignment as late
    from scipy.optimize import milp
    import scipy.optimize.linesearch
print(late.__module__, milp.__name__, sys.modules["scipy.optimize"].__name__, hasattr(scipy.optimize, "minimize"))
"""
    assert in_fresh_process(code) == ["unlearn.compute.libraries milp scipy.optimize True"]


@pytest.mark.slow
def test_scipy_is_imported_when_its_function_is_called():
    code = """
import sys
from unlearn.compute.libraries import ready
ready()
print([name for name in sys.modules if name.split(".")[0] == "scipy"])
from transformers.loss import loss_for_object_detection
rows, columns = loss_for_object_detection.linear_sum_assignment([[4, 1], [2, 3]])
print(columns.tolist(), "scipy.optimize" in sys.modules)
from scipy.optimize import minimize
print(minimize.__name__)
"""
    assert in_fresh_process(code) == ["[]", "[1, 0] True", "minimize"]


def test_scipy_is_imported_only_when_nobody_is_half_way_through_torch(monkeypatch):
    """It looks for torch in sys.modules as it is imported, and a half of it is an error."""
    inside, go, order = threading.Event(), threading.Event(), []

    def half(name):
        inside.set()
        assert go.wait(60)
        order.append(name)

    with monkeypatch.context() as patch:
        patch.setattr(libraries, "MODULES", ("half",))
        patch.setattr(
            libraries.importlib,
            "import_module",
            lambda name: (half if name == "half" else order.append)(name),
        )
        first = threading.Thread(target=libraries._import_all)
        first.start()
        assert inside.wait(60)
        second = threading.Thread(target=libraries.settled, args=("scipy.stats",))
        second.start()
        second.join(0.2)
        assert order == []
        go.set()
        first.join(60)
        second.join(60)
    assert order == ["half", "scipy.stats"]
