"""The doctor: looks at an installation or a client, says in one line each what is wrong and what to do.

`frontdesk doctor` and the console's API ask for the same checks.
"""

from server.doctor.examine import Means, examine_client, examine_installation, has_tables, report

__all__ = ["Means", "examine_client", "examine_installation", "has_tables", "report"]
