"""What the server refuses, in the OpenAI shape: {"error": {"message", "type", "param", "code"}}."""

from __future__ import annotations

import logging
from typing import Any

from reasonry.core import UserError
from reasonry.lm.endpoint import EndpointError

log = logging.getLogger(__name__)


class Refusal(UserError):  # noqa: N818 - a refusal is an answer
    """A request the server understood and does not carry out. `param` names the field at fault, where one is."""

    def __init__(self, message: str, param: str | None = None, code: str | None = None, status: int = 400) -> None:
        super().__init__(message)
        self.param, self.code, self.status = param, code, status


def error_body(message: str, status: int, param: str | None = None, code: str | None = None) -> dict[str, Any]:
    """An error in the OpenAI shape; the type follows from the HTTP status."""
    kind = {401: "authentication_error", 404: "not_found_error"}.get(status, "server_error" if status >= 500 else "invalid_request_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def as_error(error: Exception) -> tuple[int, dict[str, Any]]:
    """(status, body) of whatever went wrong: a refusal's own, 502 for a model behind that is down, 400 for what a user can mend, and
    500 for our mistakes, whose details go to the log alone."""
    match error:
        case Refusal():
            return error.status, error_body(str(error), error.status, error.param, error.code)
        case EndpointError():
            return 502, error_body(str(error), 502, code="upstream_unavailable")
        case UserError():
            return 400, error_body(str(error), 400)
    log.error("a request failed inside", exc_info=error)
    return 500, error_body(f"the server made a mistake ({type(error).__name__}); its log says more", 500, code="internal_error")
