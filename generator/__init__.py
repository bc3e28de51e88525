"""The Django application: generations, their owners, the stream to the browser, history, admin and workers."""
