"""The benchmark's tab without a screen sees what a browser would: every page, and a watched run's live ticks."""

import asyncio

import pytest
from seed import add_step, seed_run

from bench import app
from bench.client import Tab
from unlearn.store.runs import RunStore

RESULT = {
    "command": "python -m bench.app",
    "machine": {"cpu": "CPU", "cores": 2, "load": 0.5},
    "versions": {"torch": "2"},
    "commit": "abc",
    "dirty": False,
    "date": "2026-01-01",
}


def test_the_table_says_which_budgets_were_met():
    figures = {key: most / 2 for key, (most, _) in app.BUDGETS.items()} | {"tick_kb": 61.0}
    figures |= {"torch_absent_at_first_paint": True, "finished_runs": 20, "tick_cpu_ms": 12.34}
    text = app.table(RESULT | {"figures": figures})
    assert "| ≤ 60 kB | 61 kB | **no** |" in text
    assert text.count("| yes |") == len(app.BUDGETS) - 1
    early = app.table(RESULT | {"figures": figures | {"torch_absent_at_first_paint": False}})
    assert "| ≤ 2.5 s | 1.25 s | **no** |" in early  # quick only because torch had already been there


@pytest.mark.slow
def test_a_tab_opens_every_page_and_gets_live_ticks(tmp_path):
    store = RunStore(tmp_path / "runs")
    seed_run(store)
    run = seed_run(store, "running")

    async def look(server: app.Server) -> None:
        async with Tab(server.port) as tab:
            await tab.visit("")
            assert {"launch", "runs", "compare", "tokens"} <= set(tab.pages)
            for page in tab.pages:
                assert (await tab.visit(page)).size > 1000
            first = await tab.visit("launch", f"run={run.id}")
            assert "progress" in first.kinds
            seen = len(tab.runs)
            add_step(run, 21, 40)
            async with asyncio.timeout(60):
                while len(tab.runs) < seen + 2:
                    await asyncio.sleep(0.1)
            tick = tab.runs[-1]
            assert tick.fragment
            assert any("step 21 of 40" in words for words in tick.words)
            assert 1000 < tick.size < 60_000
            with pytest.raises(ValueError, match="nowhere"):
                await tab.visit("nowhere")

    lock = run.hold()
    try:
        with app.Server(store.root) as server:
            before = server.clock()
            asyncio.run(look(server))
            assert server.pages_cpu(before) > 0
    finally:
        lock.release()
