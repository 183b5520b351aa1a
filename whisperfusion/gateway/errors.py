"""Every error of an HTTP route in OpenAI's shape; a bug is one line, never a traceback."""

from __future__ import annotations

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from whisperfusion.gateway.access.middleware import rate_limited, refusal
from whisperfusion.runtime.rate_limits import TooMany
from whisperfusion.wire.openai_rest import ApiError


def add(app: FastAPI) -> None:
    """Install the handlers."""
    app.add_exception_handler(ApiError, _api_error)
    app.add_exception_handler(TooMany, _too_many)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(Exception, _bug)


async def _api_error(request: Request, problem: Exception) -> JSONResponse:
    assert isinstance(problem, ApiError)
    return refusal(problem)


async def _too_many(request: Request, problem: Exception) -> JSONResponse:
    assert isinstance(problem, TooMany)
    return refusal(rate_limited(problem))


async def _http_error(request: Request, problem: Exception) -> JSONResponse:
    assert isinstance(problem, HTTPException)
    known = {
        404: f"there is nothing at {request.url.path}; /docs lists the routes",
        405: f"{request.method} is not allowed for {request.url.path}; /docs lists the routes",
    }
    answer = refusal(
        ApiError(
            problem.status_code,
            known.get(problem.status_code, str(problem.detail)),
            code="not_found" if problem.status_code == 404 else None,
        )
    )
    answer.headers.update(problem.headers or {})
    return answer


async def _invalid(request: Request, problem: Exception) -> JSONResponse:
    assert isinstance(problem, RequestValidationError)
    first = problem.errors()[0]
    where = ".".join(str(part) for part in first["loc"][1:])
    return refusal(ApiError(400, f"{where}: {first['msg']}", param=where))


async def _bug(request: Request, problem: Exception) -> JSONResponse:
    what = "something went wrong on this server; its log has the details"
    return refusal(ApiError(500, what, code="server_error"))
