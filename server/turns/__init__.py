"""The AI's part of a conversation: one turn from a visitor's message to its answer.

`intake` accepts a message, `supervisor` decides who runs its turn, `context` and `prompt` say what the model reads,
`turn` decides (pure), `engine` acts, `phrases` says it kindly.
"""
