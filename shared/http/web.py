"""What every route answers with: a command's answer as a response, and the version of what it shows."""

from fastapi.responses import JSONResponse, Response

from shared.http.idempotency import StoredAnswer


def respond(answer: StoredAnswer) -> Response:
    """A command's answer as the response."""
    if answer.status == 204:
        return Response(status_code=204, headers=answer.headers)
    return JSONResponse(answer.body, status_code=answer.status, headers=answer.headers)


def etag(version: int) -> str:
    return f'"{version}"'
