"""Who of the staff is asking: passwords, sessions of the console, tickets for its socket, one-time links, lock-out."""

from server.staff.reach import find_conversation
from server.staff.signed import Signed, serves
from server.staff.staff import Staff

__all__ = ["Signed", "Staff", "find_conversation", "serves"]
