"""Failed sign-ins in a row. System-wide: who fails to sign in is nobody's operator yet."""

from server.repositories.pool import Conn


async def charge(
    conn: Conn, *, subject: bytes, free: int, first_s: float, most_s: float, forget_s: float
) -> float | None:
    """Counts an attempt before it is known to fail, so that many at the same moment are many.

    None, or the seconds left where the subject is locked; then nothing is counted. With the `free`th in a row it is
    locked for `first_s` seconds, with each more for twice as long, at most `most_s`. After `forget_s` without an
    attempt it starts anew.
    """
    # One more attempt, unless it is locked.
    cursor = await conn.execute(
        """
        insert into sign_in_attempts as a (subject, attempts) values (%(subject)s, 1)
        on conflict (subject) do update set
            attempts = case
                when a.last_at < now() - make_interval(secs => %(forget_s)s) then 1
                else a.attempts + 1
            end,
            locked_until = case
                when a.last_at < now() - make_interval(secs => %(forget_s)s) or a.attempts + 1 < %(free)s then null
                else now() + make_interval(
                    secs => least(%(most_s)s, %(first_s)s * power(2, least(a.attempts + 1 - %(free)s, 30)))
                )
            end,
            last_at = now()
        where a.locked_until is null or a.locked_until <= now()
        returning id
        """,
        {"subject": subject, "free": free, "first_s": first_s, "most_s": most_s, "forget_s": forget_s},
    )
    if await cursor.fetchone() is not None:
        return None
    # How long still.
    cursor = await conn.execute(
        """
        select extract(epoch from locked_until - now())::float8 from sign_in_attempts
        where subject = %(subject)s and locked_until is not null
        """,
        {"subject": subject},
    )
    row = await cursor.fetchone()
    # Somebody signed in or was let back in between the two statements: the next attempt is counted.
    return max(0.0, float(row[0])) if row else 0.0


async def forgive(conn: Conn, *, subject: bytes) -> None:
    # The attempt that was counted last did not fail.
    await conn.execute(
        """
        update sign_in_attempts set attempts = greatest(attempts - 1, 0), locked_until = null
        where subject = %(subject)s
        """,
        {"subject": subject},
    )


async def forget(conn: Conn, *, subject: bytes) -> None:
    # They know the password, or have a new one.
    await conn.execute("delete from sign_in_attempts where subject = %(subject)s", {"subject": subject})


async def delete_old(conn: Conn, *, forget_s: float) -> int:
    """How many rows went: those that `charge` would begin anew."""
    # Long ago.
    cursor = await conn.execute(
        """
        with old as (
            select id from sign_in_attempts
            where last_at < now() - make_interval(secs => %(forget_s)s) for update skip locked
        ), gone as (
            delete from sign_in_attempts a using old where a.id = old.id returning 1
        )
        select count(*) from gone
        """,
        {"forget_s": forget_s},
    )
    row = await cursor.fetchone()
    return int(row[0]) if row else 0
