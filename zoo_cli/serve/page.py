"""`GET /`: try the models in a browser. One file without any external asset."""

from __future__ import annotations

from importlib.resources import files

from fastapi import APIRouter, Response

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "connect-src 'self'; img-src data:; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


def router() -> APIRouter:
    """The page."""
    routes = APIRouter(include_in_schema=False)
    content = files("zoo_cli.serve").joinpath("page.html").read_bytes()

    @routes.get("/")
    async def page() -> Response:
        return Response(content, headers=_HEADERS, media_type="text/html; charset=utf-8")

    return routes
