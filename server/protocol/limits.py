"""Limits of the wire. `welcome.limits` and `GET /api/v1/config` tell them to the widget."""

# One WebSocket frame, bytes: a 5,000-character message of four-byte characters is 20 KB, escaped 60 KB.
FRAME_BYTES = 64 * 1024
# One HTTP body, bytes.
BODY_BYTES = 64 * 1024
# Nested arrays and objects. Ours nest 4 deep; a parser bomb nests thousands.
JSON_DEPTH = 32
# Characters of a visitor's message after trimming.
MESSAGE_CHARACTERS = 5_000
# Frames that are not understood, per connection, before it is closed.
BAD_FRAMES = 10
# Seconds from accept to `hello`.
HELLO_S = 10
# Seconds between two pings of a healthy widget.
HEARTBEAT_S = 25
