"""How instances talk, and who is here. Speed only: at most once, and Postgres fills what is missed.

`channels` names, `bus` Redis pub/sub over two connections, `hub` local subscribers, `live` the running answers'
text, `fallback` the way through Postgres while Redis is away, `signals` wake-ups.
"""
