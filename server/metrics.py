"""What Prometheus reads at `GET /metrics`. Labels never hold a client, a session or anything a visitor chose."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

REGISTRY = CollectorRegistry()

REQUESTS = Counter("frontdesk_http_requests", "HTTP requests.", ("route", "method", "status"), registry=REGISTRY)
REQUEST_SECONDS = Histogram("frontdesk_http_request_seconds", "Time to answer.", ("route",), registry=REGISTRY)
SOCKETS = Gauge("frontdesk_sockets", "Open visitor sockets.", registry=REGISTRY)
OPERATOR_SOCKETS = Gauge("frontdesk_operator_sockets", "Open sockets of operators.", registry=REGISTRY)
SOCKETS_CLOSED = Counter("frontdesk_sockets_closed", "Sockets this side closed.", ("code",), registry=REGISTRY)
SOCKETS_BEHIND = Counter("frontdesk_sockets_behind", "Queues dropped because their reader was slow.", registry=REGISTRY)
SOCKETS_REFUSED = Counter("frontdesk_sockets_refused", "Sockets over a limit.", ("limit",), registry=REGISTRY)
BAD_FRAMES = Counter("frontdesk_bad_frames", "Frames refused.", ("code",), registry=REGISTRY)
MESSAGES = Counter("frontdesk_messages", "Visitors' messages accepted.", ("channel",), registry=REGISTRY)
REFUSED = Counter("frontdesk_messages_refused", "Visitors' messages refused.", ("code",), registry=REGISTRY)
TURNS = Counter("frontdesk_turns", "Turns ended.", ("status",), registry=REGISTRY)
TURNS_RUNNING = Gauge("frontdesk_turns_running", "Turns this instance runs now.", registry=REGISTRY)
FIRST_TOKEN = Histogram(
    "frontdesk_first_token_seconds", "From the call of the model to its first text.", ("provider",), registry=REGISTRY
)
MODEL_CALLS = Counter("frontdesk_model_calls", "Calls of models ended.", ("provider", "outcome"), registry=REGISTRY)
TOOL_CALLS = Counter("frontdesk_tool_calls", "Calls of tools ended.", ("outcome",), registry=REGISTRY)
TOOL_SECONDS = Histogram("frontdesk_tool_seconds", "From a tool's call to its end.", registry=REGISTRY)
