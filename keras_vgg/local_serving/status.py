"""Errors as TensorFlow Serving reports them: a gRPC code, and the HTTP status that it maps to over REST."""

import grpc

Code = grpc.StatusCode

HTTP_STATUS = {
    Code.CANCELLED: 499,
    Code.INVALID_ARGUMENT: 400,
    Code.FAILED_PRECONDITION: 400,
    Code.OUT_OF_RANGE: 400,
    Code.UNAUTHENTICATED: 401,
    Code.PERMISSION_DENIED: 403,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.ABORTED: 409,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.UNIMPLEMENTED: 501,
    Code.UNAVAILABLE: 503,
    Code.DEADLINE_EXCEEDED: 504,
}
"""By code; 500 for all others."""

CODES = {code.value[0]: code for code in Code}
"""By number, as in TensorFlow's errors."""


class StatusError(Exception):
    """A request that cannot be answered.

    Attributes:
        code: reason, as a gRPC code.
        message: reason, for people.
    """

    def __init__(self, code: grpc.StatusCode, message: str):
        super().__init__(message)
        self.code, self.message = code, message

    @property
    def http_status(self) -> int:
        """The status over REST."""
        return HTTP_STATUS.get(self.code, 500)


def invalid(message: str) -> StatusError:
    """Returns the error for an invalid request."""
    return StatusError(Code.INVALID_ARGUMENT, message)
