"""The chaos rig: what must never happen is tried for, counted, and printed beside its goal.

    make chaos                       every row at full size
    make chaos ROWS=kills SEED=7     one row, as it was

A row (`rows/`) is a function of a `World` that gives figures. It opens clusters: instances in processes of their own,
forked from a warm one, a database, a Redis, a model server that numbers its tokens, a webhook that counts effects.
Recording visitors talk to them while the row does its worst; checkers read the recordings and the database.
"""
