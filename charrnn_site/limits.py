"""Limits and times, as part of the settings. Forms, services and the worker take them from here."""

from __future__ import annotations

from charrnn_site import env

# Texts
PROMPT_MAX_LENGTH = env.integer("PROMPT_MAX_LENGTH", 2_000, minimum=1)
# Of a text that is continued; PROMPT_MAX_LENGTH limits what is typed.
MANUSCRIPT_MAX_LENGTH = env.integer("MANUSCRIPT_MAX_LENGTH", 200_000, minimum=1)
TEMPERATURE_MAX = 5.0
STOP_MAX_STRINGS = 16
STOP_MAX_LENGTH = 40
GENERATION_MAX_LENGTH = env.integer("GENERATION_MAX_LENGTH", 20_000, minimum=1)
GENERATION_DEADLINE = env.integer("GENERATION_DEADLINE", 600, minimum=1)  # seconds of writing
GENERATION_MAX_FAILURES = env.integer("GENERATION_MAX_FAILURES", 3, minimum=1)
# Restarts of workers count, too.
GENERATION_MAX_ATTEMPTS = env.integer("GENERATION_MAX_ATTEMPTS", 20, minimum=1)
QUEUE_MAX_LENGTH = env.integer("QUEUE_MAX_LENGTH", 500, minimum=1)
HISTORY_PAGE_SIZE = 20

# One user or visitor
OWNER_MAX_ACTIVE = env.integer("OWNER_MAX_ACTIVE", 4, minimum=1)
OWNER_SUBMITS_PER_MINUTE = env.integer("OWNER_SUBMITS_PER_MINUTE", 60, minimum=1)
OWNER_MAX_SOCKETS = env.integer("OWNER_MAX_SOCKETS", 20, minimum=1)

# One address, which a whole class may share
ADDRESS_SUBMITS_PER_MINUTE = env.integer("ADDRESS_SUBMITS_PER_MINUTE", 600, minimum=1)
ADDRESS_SIGN_INS_PER_MINUTE = env.integer("ADDRESS_SIGN_INS_PER_MINUTE", 10, minimum=1)  # that fail
ADDRESS_SIGN_UPS_PER_MINUTE = env.integer("ADDRESS_SIGN_UPS_PER_MINUTE", 30, minimum=1)
ADDRESS_MAX_SOCKETS = env.integer("ADDRESS_MAX_SOCKETS", 200, minimum=1)
# Without the sockets; a browser keeps up to six.
ADDRESS_MAX_CONNECTIONS = env.integer("ADDRESS_MAX_CONNECTIONS", 400, minimum=1)

# Passwords: hashing one takes a core for half a second. Requests that wait for their turn each hold
# a thread; the other threads go on serving pages.
PASSWORDS_AT_ONCE = env.integer("PASSWORDS_AT_ONCE", 1, minimum=1)
PASSWORDS_WAITING = 6

# One socket
SOCKET_WINDOW = env.integer("SOCKET_WINDOW", 32_768, minimum=8_000)  # characters sent, unconfirmed
SOCKET_STALLED = env.integer("SOCKET_STALLED", 30, minimum=5)  # seconds a window may stay full
SOCKET_MAX_FRAME = 4_096  # bytes of one message from a client
SOCKET_MAX_MESSAGES_PER_SECOND = 20

# Times
WORKER_HEARTBEAT = 3.0  # seconds between heartbeats
WORKER_SILENT = 10.0  # seconds without one after which a worker's texts are given to another
DISPATCH_RETRY = 6.0  # seconds in the queue after which a row's message is looked for
LOG_KEEP = 3_600  # seconds a text's frames stay in Redis without a new one
LOG_KEEP_ENDED = 60  # seconds they stay once the row has the whole text
