"""All routes of the console's API, as data."""

from server.admin import session

ENDPOINTS = (*session.ENDPOINTS,)
