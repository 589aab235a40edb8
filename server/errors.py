"""The error tree.

    FrontdeskError
    |- SettingsError            a wrong environment variable; nothing starts
    |- RequestError             the caller's doing; told to them as it stands
    |  |- Malformed             400  not JSON, not UTF-8, too deep
    |  |- Unauthorized          401  no or bad key or token
    |  |- Forbidden             403  origin not allowed, client suspended
    |  |- NotFound              404  not there or not yours, the same answer
    |  |- Conflict              409  a cid used again with another text
    |  |- Gone                  410  it was there, and its time is over
    |  |- TooLarge              413  body or frame over its limit
    |  |- Invalid               422  a field is wrong; `field` names it
    |  `- RateLimited           429  which limit, and when it resets
    |- Unavailable              503  Postgres or Redis is down; come back later
    |- ModelError               a model's failure; a kind sentence for the visitor, the reason for the log
    |  |- ModelUnreachable      no connection, reset, 5xx after every retry
    |  |- ModelTimeout          connect, first byte or idle time passed
    |  |- ModelBusy             429 after every retry
    |  |- ModelRefused          401, 403, 404, 400: a matter of configuration, a retry will not help
    |  `- ModelGarbage          bytes that are not the protocol, or a stream cut before its end
    |- EgressError              a configured address failed; `kind` says how, `sent` whether it may have heard us
    |- SecretUnreadable         ciphertext that no key of the deployment opens
    `- FenceLost                somebody else is entitled to write this turn; stop at once

Every error carries `code` (stable, for programs), `message` (for people, no internals) and `temporary`
(whether the same request may work later).
"""

from typing import ClassVar, Literal


class FrontdeskError(Exception):
    """The root. `message` may be shown to the person who caused it."""

    code: str = "internal"
    temporary: ClassVar[bool] = False

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class SettingsError(FrontdeskError):
    code = "settings"


class RequestError(FrontdeskError):
    """The caller's doing. `status` is the HTTP status."""

    status: ClassVar[int] = 400
    code = "malformed"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        field: str | None = None,
        retry_after_ms: int | None = None,
    ) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code
        self.field = field
        self.retry_after_ms = retry_after_ms


class Malformed(RequestError):
    status = 400
    code = "malformed"


class Unauthorized(RequestError):
    status = 401
    code = "unauthorized"


class Forbidden(RequestError):
    status = 403
    code = "forbidden"


class NotFound(RequestError):
    status = 404
    code = "not_found"


class Conflict(RequestError):
    status = 409
    code = "conflict"


class Gone(RequestError):
    status = 410
    code = "gone"


class TooLarge(RequestError):
    status = 413
    code = "too_large"


class Invalid(RequestError):
    status = 422
    code = "invalid"


class RateLimited(RequestError):
    status = 429
    code = "rate_limited"
    temporary = True


class Unavailable(FrontdeskError):
    """A dependency is down. `dependency` is "postgres", "redis", or "turn" where a turn is not reached in time."""

    code = "unavailable"
    temporary = True

    def __init__(self, dependency: str, message: str, *, retry_after_ms: int = 2000) -> None:
        super().__init__(message)
        self.dependency = dependency
        self.retry_after_ms = retry_after_ms


class ModelError(FrontdeskError):
    """A model's failure. `message` is for the log; visitors get a sentence of `turns/phrases.py`."""

    code = "model_error"
    temporary = True


class ModelUnreachable(ModelError):
    code = "model_unreachable"


class ModelTimeout(ModelError):
    code = "model_timeout"


class ModelBusy(ModelError):
    code = "model_busy"


class ModelRefused(ModelError):
    code = "model_refused"
    temporary = False


class ModelGarbage(ModelError):
    code = "model_garbage"


class EgressError(FrontdeskError):
    """A call to a configured address failed. `message` names no address beyond the host and may be shown to an owner.

    `sent` is whether the other side may have acted on the request: False only when nothing can have reached it.
    """

    code = "egress"
    temporary = True
    Kind = Literal["forbidden", "dns", "refused", "timeout", "tls", "too_large", "broken"]

    def __init__(self, kind: Kind, message: str, *, sent: bool) -> None:
        super().__init__(message)
        self.kind: EgressError.Kind = kind
        self.sent = sent


class SecretUnreadable(FrontdeskError):
    code = "secret_unreadable"


class FenceLost(FrontdeskError):
    code = "fence_lost"
