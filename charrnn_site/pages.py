"""How pages are served: files at once from the event loop, everything else by threads that keep their database connections."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from django.core.handlers.asgi import ASGIHandler
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from servestatic.middleware import ServeStaticMiddleware

from generator.threads import in_thread

THREADS = 16  # pages that may wait for the database at once, and as many connections; they are made when they are needed

_threads = ThreadPoolExecutor(max_workers=THREADS, thread_name_prefix="pages")


class Pages(ASGIHandler):
    """Django's handler, with all middleware and the view in one go on one thread.

    By itself it would go to a thread and back for each middleware, and make a thread and a
    connection for each request: a fifth of what a visit, with its socket, cost the web process
    (docs/performance.md).
    """

    def __init__(self) -> None:
        super(
            ASGIHandler, self
        ).__init__()  # ASGIHandler's own loads the middleware for the event loop
        self.load_middleware(is_async=False)
        self._answer = ServeStaticMiddleware(in_thread(self.get_response, _threads))

    async def get_response_async(self, request: HttpRequest) -> HttpResponseBase:
        """Return the response to a request."""
        response: HttpResponseBase = await self._answer(request)
        return response
