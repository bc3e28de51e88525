"""Limits: each has its one definition here, used by forms, services and the worker. Part of the settings."""

from __future__ import annotations

from charrnn_site import env

PROMPT_MAX_LENGTH = env.integer("PROMPT_MAX_LENGTH", 2_000, minimum=1)
GENERATION_MAX_LENGTH = env.integer("GENERATION_MAX_LENGTH", 20_000, minimum=1)
GENERATION_DEADLINE = env.integer("GENERATION_DEADLINE", 600, minimum=1)  # seconds of writing
GENERATION_MAX_FAILURES = env.integer("GENERATION_MAX_FAILURES", 3, minimum=1)
GENERATION_MAX_ATTEMPTS = env.integer(
    "GENERATION_MAX_ATTEMPTS", 20, minimum=1
)  # restarts of workers count, too
TEMPERATURE_MAX = 5.0
STOP_MAX_STRINGS = 16
STOP_MAX_LENGTH = 40
OWNER_MAX_ACTIVE = env.integer("OWNER_MAX_ACTIVE", 4, minimum=1)
OWNER_SUBMITS_PER_MINUTE = env.integer("OWNER_SUBMITS_PER_MINUTE", 60, minimum=1)
OWNER_MAX_SOCKETS = env.integer("OWNER_MAX_SOCKETS", 20, minimum=1)
ADDRESS_SUBMITS_PER_MINUTE = env.integer(
    "ADDRESS_SUBMITS_PER_MINUTE", 600, minimum=1
)  # a class shares one address
ADDRESS_SIGN_INS_PER_MINUTE = env.integer("ADDRESS_SIGN_INS_PER_MINUTE", 10, minimum=1)  # that fail
ADDRESS_SIGN_UPS_PER_MINUTE = env.integer("ADDRESS_SIGN_UPS_PER_MINUTE", 30, minimum=1)
PASSWORDS_AT_ONCE = env.integer(
    "PASSWORDS_AT_ONCE", 1, minimum=1
)  # that are hashed; each takes a core for half a second
PASSWORDS_WAITING = 6  # for their turn, of the threads of pages; the others serve those who have none to be looked at
ADDRESS_MAX_SOCKETS = env.integer("ADDRESS_MAX_SOCKETS", 200, minimum=1)
ADDRESS_MAX_CONNECTIONS = env.integer(
    "ADDRESS_MAX_CONNECTIONS", 400, minimum=1
)  # besides those; a browser keeps up to six
QUEUE_MAX_LENGTH = env.integer("QUEUE_MAX_LENGTH", 500, minimum=1)
SOCKET_WINDOW = env.integer(
    "SOCKET_WINDOW", 32_768, minimum=8_000
)  # characters sent and not yet confirmed
SOCKET_STALLED = 30.0  # seconds a full window may stay full
SOCKET_MAX_FRAME = 4_096  # bytes of one message from a client
SOCKET_MAX_MESSAGES_PER_SECOND = 20
HISTORY_PAGE_SIZE = 20

WORKER_HEARTBEAT = 3.0  # seconds between heartbeats
WORKER_SILENT = 10.0  # seconds without one after which a worker's generations are given to another
DISPATCH_RETRY = (
    6.0  # seconds a row may wait in the queue before it is looked whether its message was lost
)
LOG_KEEP = 3_600  # seconds a generation's frames stay in Redis without a new one
LOG_KEEP_ENDED = 60  # seconds they stay once the row has the whole text
