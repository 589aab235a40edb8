"""The console's JSON API. One module a noun; `gate` lets a request in."""
