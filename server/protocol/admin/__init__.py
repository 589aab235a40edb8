"""Bodies of the console's JSON API, `/api/v1/admin/...`, one module a noun.

What the console is told has no defaults: every field is there, null where it has no value. What it sends may leave
fields out where a default is given. Times are UTC, money is decimal text in US dollars.
"""
