"""The only place with SQL: one module per noun, plus the pool and the migrations.

Every function takes the connection first, then keyword arguments, and never commits: the unit of work is one
transaction at the edge (`pool.unit_of_work`). A function that only writes returns None and fetches nothing, so
that it travels in one round trip with its neighbours. Every statement on a client's rows names the client; the
few that work for the whole system say so. Times come from the database's clock.

What psycopg raises inside `unit_of_work` and `reading` leaves them as our own errors (`faults`).
"""
