"""What is wrong, and what to do."""

from datetime import datetime
from typing import Literal

from server.protocol.base import Wire

FindingStatus = Literal["ok", "warning", "error"]


class Finding(Wire, frozen=True):
    """One check, which took `ms`. `says` is what was found, in one line.

    `advice` is what to do about it; null where nothing needs to be done.
    """

    check: str
    status: FindingStatus
    says: str
    advice: str | None
    ms: int


class DoctorReport(Wire, frozen=True):
    """`ok`: no check found an error. With a client, what concerns that client is checked too."""

    at: datetime
    client_id: int | None
    ok: bool
    findings: list[Finding]
