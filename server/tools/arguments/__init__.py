"""JSON Schema of a tool's arguments: checked when it is set up and on every call."""
