"""Decides who may talk to the server, and what a browser may do with its pages.

A page of another site in the same browser can reach a server on this machine. It is refused by the name under which it
calls (a foreign Host is DNS rebinding) and by where it comes from (a websocket opens for the app's own pages only, not
for whatever else runs on a port of localhost). The policy keeps pages out of frames and foreign scripts out of pages.

A page is also told where its server is. Streamlit's script would find out by trying, first below the page's own
address, which leaves two errors (404) in the browser's console for each link that opens a page. And it is given
place.js, which keeps the place of whoever works by keyboard, and scheme.js, which draws charts anew in the dark.
"""

import base64
import hashlib
import re
from pathlib import Path
from urllib.parse import urlsplit

import streamlit as st
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from unlearn.store.home import HOME

HEAD = b"<head>"
INDEX = Path(st.__file__).parent / "static" / "index.html"
INLINE = re.compile(r"<script>(.*?)</script>", re.DOTALL)


def own_address() -> str:
    """Return the script that tells a page its server's address: its own without the page's name at the end."""
    names = "|".join(sorted(path.stem for path in (HOME / "pages").glob("*.py")))
    path = rf'location.pathname.replace(/\/({names})?\/?$/, "")'
    return f"window.__streamlit = {{BACKEND_BASE_URL: location.origin + {path}}}"


def scripts() -> tuple[str, ...]:
    """Return the scripts that are written into each page."""
    ours = (Path(__file__).parent / name for name in ("place.js", "scheme.js"))
    return own_address(), *(file.read_text(encoding="utf-8") for file in ours)


def policy() -> str:
    """Return the content policy, which allows parts from this server alone.

    Streamlit's styles are inline, its parts come as blobs.
    """
    digests = [
        f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
        for text in [*INLINE.findall(INDEX.read_text(encoding="utf-8")), *scripts()]
    ]
    rules = {
        "default-src": "'self'",
        "script-src": " ".join(("'self'", "blob:", *digests)),
        "style-src": "'self' 'unsafe-inline'",
        "img-src": "'self' data: blob:",
        "font-src": "'self' data:",
        "connect-src": "'self'",
        "worker-src": "'self' blob:",
        "object-src": "'none'",
        "base-uri": "'self'",
        "form-action": "'self'",
        "frame-src": "'none'",
        "frame-ancestors": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in rules.items())


class Policies:
    """A layer in front of the server that adds the headers to every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.headers = {
            "Content-Security-Policy": policy(),
            "X-Frame-Options": "DENY",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "same-origin",
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(self.headers)
            await send(message)

        await self.app(scope, receive, with_headers if scope["type"] == "http" else send)


class OwnAddress:
    """A layer in front of the server that writes scripts() into the head of every page."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.scripts = "".join(f"<script>{text}</script>" for text in scripts()).encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        start: Message = {}
        body = bytearray()

        async def with_scripts(message: Message) -> None:
            if message["type"] == "http.response.start" and _is_page(Headers(raw=message["headers"])):
                start.update(message)
            elif start and message["type"] == "http.response.body":
                body.extend(message.get("body", b""))
                if not message.get("more_body"):
                    page = bytes(body).replace(HEAD, HEAD + self.scripts, 1)
                    MutableHeaders(raw=start["headers"])["Content-Length"] = str(len(page))
                    await send(start)
                    await send({"type": "http.response.body", "body": page})
            else:
                await send(message)

        is_read = scope["type"] == "http" and scope["method"] == "GET"
        if is_read and "text/html" in Headers(scope=scope).get("accept", ""):
            # A page is asked for as it is: what is packed cannot be written into.
            kept = [(name, value) for name, value in scope["headers"] if name != b"accept-encoding"]
            await self.app({**scope, "headers": kept}, receive, with_scripts)
        else:
            await self.app(scope, receive, send)


def _is_page(headers: Headers) -> bool:
    return headers.get("content-type", "").startswith("text/html") and "content-encoding" not in headers


class OwnPages:
    """A layer in front of the server that refuses a websocket from another origin.

    Those of server.corsAllowedOrigins are let in.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket" and not is_own(Headers(scope=scope)):
            await receive()
            # The websocket is closed before it was accepted, so the answer is 403.
            await send({"type": "websocket.close", "code": 1008})
            return
        await self.app(scope, receive, send)


def is_own(headers: Headers) -> bool:
    """Return whether a request comes from a page of this server.

    A client that sends no Origin is not a browser.
    """
    origin = headers.get("origin")
    known = [one.rstrip("/") for one in st.get_option("server.corsAllowedOrigins") or ()]
    return origin is None or urlsplit(origin).netloc == headers.get("host") or origin in known


def middleware() -> list[Middleware]:
    """Return the layers in front of Streamlit, from outside in.

    `--server.allowedHosts NAME` adds a name to the config's.
    """
    named = st.get_option("server.allowedHosts") or ["*"]
    # In a Host header an IPv6 address stands in brackets.
    hosts = [f"[{name}]" if ":" in name else name for name in named]
    return [
        Middleware(Policies),
        Middleware(TrustedHostMiddleware, allowed_hosts=hosts, www_redirect=False),
        Middleware(OwnPages),
        Middleware(OwnAddress),
    ]
