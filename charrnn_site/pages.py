"""How pages are served: files by the event loop, everything else by threads.

The threads keep their database connections.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from django.core.handlers.asgi import ASGIHandler
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from servestatic.middleware import ServeStaticMiddleware

from generator.threads import in_thread

THREADS = 16  # each has a connection to the database; they are made when they are needed

_threads = ThreadPoolExecutor(max_workers=THREADS, thread_name_prefix="pages")


class Pages(ASGIHandler):
    """Django's handler, with all middleware and the view together on one thread.

    Django would switch to a thread and back for each middleware, and make a thread and a connection
    for each request. That was a fifth of what a visit cost the web process (docs/performance.md).
    """

    def __init__(self) -> None:
        # ASGIHandler's own __init__ would load the middleware for the event loop.
        super(ASGIHandler, self).__init__()
        self.load_middleware(is_async=False)
        self._answer = ServeStaticMiddleware(in_thread(self.get_response, _threads))

    async def get_response_async(self, request: HttpRequest) -> HttpResponseBase:
        """Return the response to a request."""
        response: HttpResponseBase = await self._answer(request)
        return response
