"""Every error of an HTTP route in one shape, OpenAI's, which suits everybody else too; a bug is told as one line, never as a trace."""

from __future__ import annotations

import logging

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from fusion.gateway.doors import refusal
from fusion.wire.openai_rest import ApiError

log = logging.getLogger("gateway")


def add(app: FastAPI) -> None:
    @app.exception_handler(ApiError)
    async def api(request: Request, problem: ApiError) -> JSONResponse:
        return refusal(problem)

    @app.exception_handler(HTTPException)
    async def http(request: Request, problem: HTTPException) -> JSONResponse:
        known = {
            404: f"there is nothing at {request.url.path}; /docs lists the routes",
            405: f"{request.method} is not for {request.url.path}",
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

    @app.exception_handler(RequestValidationError)
    async def validation(request: Request, problem: RequestValidationError) -> JSONResponse:
        first = problem.errors()[0]
        where = ".".join(str(part) for part in first["loc"][1:])
        return refusal(ApiError(400, f"{where}: {first['msg']}", param=where))

    @app.exception_handler(Exception)
    async def bug(request: Request, problem: Exception) -> JSONResponse:
        return refusal(ApiError(500, "something went wrong on this server; its log tells what", code="server_error"))
