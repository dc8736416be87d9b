"""Errors as an OpenAI-compatible server answers them."""

from proxy.testing.replies import Reply

TYPES = {
    400: "BadRequestError",
    401: "AuthenticationError",
    404: "NotFoundError",
    405: "MethodNotAllowedError",
    500: "InternalServerError",
}


class ApiError(Exception):
    """The request cannot be served; carries status, message and the name of the field at fault."""

    def __init__(self, status: int, message: str, *, param: str | None = None, kind: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.param = param
        self.type = kind or TYPES.get(status, "InternalServerError")

    def reply(self, key: str = "error") -> Reply:
        """`{"error": {"message", "type", "param", "code"}}`, or `{key: message}` for servers that use another key."""
        if key != "error":
            return Reply(status=self.status, json={key: self.message})
        fields = {"message": self.message, "type": self.type, "param": self.param, "code": self.status}
        return Reply(status=self.status, json={"error": fields})
