"""The vocabulary of the wire, version 1. Structs only name things; nothing here decides or does anything.

`parts` what messages are made of, `visitor` and `operator` frames by direction, `http` bodies of the public API,
`close` close codes, `codec` bytes to structs and back, `emit` TypeScript and JSON Schema.
"""

VERSION = 1
