"""A real PostgreSQL and a real Redis that start by themselves, from the extra `frontdesk[embedded]`.

    with embedded.services(Path(".frontdesk")) as services:
        services.database_url, services.redis_url

Several programs may use one data directory at the same time: the first starts the services, the others share them,
and they stop with the last one, however it ends (`supervisor.py` says how). Both listen on Unix sockets that only the
current user (and root) can open, so nothing is reachable from a network and the addresses stay the same for ever.
"""

from server.embedded.attach import Services, redis_alone, services

__all__ = ["Services", "redis_alone", "services"]
