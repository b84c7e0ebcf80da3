"""Speaks streamlit's websocket as a browser's tab does, but draws nothing. So only the server is measured.

A real tab draws, and on a machine with two cores its drawing would be counted as the server's cost. This one asks for
pages, presses buttons, names the large messages that it still has, and calls a fragment again when its interval has
passed, as a tab does; it draws nothing. What it counts are the bytes of the messages before compression.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.asyncio.client import ClientConnection, connect

# Script runs after which a tab forgets a large message: global.maxCachedMessageAge.
KEPT_RUNS = 2
# Seconds to wait for an answer before giving up.
PATIENCE = 120.0


@dataclass
class Seen:
    """The outcome of one script run: what it sent, and the seconds from the request to its last message."""

    fragment: bool = False
    seconds: float = 0.0
    # The bytes of all messages.
    size: int = 0
    # The bytes of each kind of element.
    kinds: dict[str, int] = field(default_factory=dict)
    # The words of its texts and progress bars.
    words: list[str] = field(default_factory=list)


class Tab:
    """One open tab: `async with Tab(port) as tab: await tab.visit("runs")`.

    runs holds every script run so far.

    RuntimeError when a page shows an exception: a page that fails is fast.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.runs: list[Seen] = []
        # Each page's name in the address, with the server's name for it.
        self.pages: dict[str, str] = {}
        # Each button's label, with its (widget, fragment).
        self.buttons: dict[str, tuple[str, str]] = {}
        self._socket: ClientConnection | None = None
        self._reader: asyncio.Task[None] | None = None
        self._kept: dict[str, int] = {}
        self._timers: dict[str, asyncio.Task[None]] = {}
        self._waiting: tuple[bool, asyncio.Future[Seen]] | None = None
        self._current, self._asked = Seen(), 0.0
        self._page, self._query = "", ""

    async def __aenter__(self) -> "Tab":
        address = f"ws://127.0.0.1:{self.port}/_stcore/stream"
        self._socket = await connect(address, subprotocols=["streamlit"], max_size=None)
        self._reader = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._forget()
        self._reader.cancel()
        await self._socket.close()

    async def visit(self, page: str, query: str = "") -> Seen:
        """Go to a page by its name in the address ("" for the first), and return when its script has
        finished.
        """
        if self.pages and page not in self.pages:
            raise ValueError(f"page: no {page!r}, only {', '.join(map(repr, self.pages))}.")
        # A tab that leaves a page stops calling its fragments.
        self._forget()
        self._page, self._query = page, query
        self.buttons.clear()
        name = "" if self.pages else page
        return await self._ask(page_script_hash=self.pages.get(page, ""), page_name=name)

    async def press(self, label: str) -> Seen:
        """Press the button of that label, and return when the script run that it caused has finished."""
        widget, fragment = self.buttons[label]
        return await self._ask(widget, fragment_id=fragment, page_script_hash=self.pages[self._page])

    async def _ask(self, pressed: str = "", **more: Any) -> Seen:
        self._waiting = (bool(more.get("fragment_id")), asyncio.get_running_loop().create_future())
        await self._send(pressed, **more)
        return await asyncio.wait_for(self._waiting[1], PATIENCE)

    async def _send(self, pressed: str = "", **more: Any) -> None:
        message = BackMsg()
        state = message.rerun_script
        state.query_string, state.context_info.color_scheme = self._query, "light"
        state.context_info.url = f"http://127.0.0.1:{self.port}/{self._page}"
        recent = len(self.runs) - KEPT_RUNS
        state.cached_message_hashes.extend(name for name, last in self._kept.items() if last > recent)
        state.widget_states.SetInParent()
        if pressed:
            state.widget_states.widgets.add(id=pressed, trigger_value=True)
        for name, value in more.items():
            setattr(state, name, value)
        self._asked = time.perf_counter()
        await self._socket.send(message.SerializeToString())

    async def _read(self) -> None:
        try:
            async for raw in self._socket:
                self._take(ForwardMsg.FromString(raw), len(raw))
        except Exception as error:
            if self._waiting and not self._waiting[1].done():
                self._waiting[1].set_exception(error)
            raise

    def _take(self, message: ForwardMsg, size: int) -> None:
        kind = message.WhichOneof("type")
        if kind == "new_session":
            self._current = Seen(fragment=bool(message.metadata.run.fragment_ids))
            if not self._current.fragment:
                # The whole page is drawn anew, so it names again which fragments to call.
                self._forget()
        if message.metadata.cacheable:
            self._kept[message.hash] = len(self.runs)
        elif kind == "ref_hash":
            self._kept[message.ref_hash] = len(self.runs)
        now, told = self._current, self._element(message.delta) if kind == "delta" else kind
        now.size += size
        now.kinds[told] = now.kinds.get(told, 0) + size
        if kind == "navigation":
            self.pages = {page.url_pathname: page.page_script_hash for page in message.navigation.app_pages}
            first = next(page for page in message.navigation.app_pages if page.is_default)
            self.pages[""] = first.page_script_hash
        elif kind == "auto_rerun":
            self._call_again(message.auto_rerun.fragment_id, message.auto_rerun.interval)
        elif kind == "stop_auto_rerun":
            for name in message.stop_auto_rerun.fragment_ids:
                self._forget(name)
        elif kind == "script_finished" and message.script_finished != ForwardMsg.FINISHED_EARLY_FOR_RERUN:
            self._finished()

    def _element(self, delta: Any) -> str:
        """What kind of element it is; its words and buttons are noted."""
        if delta.WhichOneof("type") != "new_element":
            return delta.WhichOneof("type")
        element = delta.new_element
        kind = element.WhichOneof("type")
        if kind == "exception":
            raise RuntimeError(f"{self._page}: {element.exception.message}")
        if kind == "button":
            self.buttons[element.button.label] = (element.button.id, delta.fragment_id)
        elif kind == "markdown":
            self._current.words.append(element.markdown.body)
        elif kind == "progress":
            self._current.words.append(element.progress.text)
        return kind

    def _finished(self) -> None:
        self._current.seconds = time.perf_counter() - self._asked
        self.runs.append(self._current)
        if self._waiting and self._waiting[0] == self._current.fragment and not self._waiting[1].done():
            self._waiting[1].set_result(self._current)

    def _call_again(self, fragment: str, interval: float) -> None:
        async def every() -> None:
            while True:
                await asyncio.sleep(interval)
                page = self.pages[self._page]
                await self._send(fragment_id=fragment, is_auto_rerun=True, page_script_hash=page)

        self._forget(fragment)
        self._timers[fragment] = asyncio.create_task(every())

    def _forget(self, fragment: str = "") -> None:
        for name in [fragment] if fragment else list(self._timers):
            if timer := self._timers.pop(name, None):
                timer.cancel()


@contextlib.asynccontextmanager
async def tabs(port: int, count: int) -> AsyncIterator[list[Tab]]:
    """Yield several open tabs, closed at the end."""
    async with contextlib.AsyncExitStack() as stack:
        yield [await stack.enter_async_context(Tab(port)) for _ in range(count)]
