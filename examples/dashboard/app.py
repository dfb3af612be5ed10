"""The dashboard's server: a FastAPI application with the gateway in it."""

import asyncio

from fastapi import BackgroundTasks, FastAPI
from fastapi.responses import PlainTextResponse
from fastapi.staticfiles import StaticFiles

from gateway.api import create_router, create_service

service = create_service()  # reads the GATEWAY_ settings
app = FastAPI()
app.include_router(create_router(service))


@app.get("/my/gateway-token", response_class=PlainTextResponse)
async def gateway_token() -> str:
    # Check your session here: who is logged in, and what may they follow?
    return service.issue_token(user_id="ada", tenant="acme", rooms=["circle:7"], expires_in=600).access_token


async def run(job: str) -> None:
    publish = service.gateway.publish
    for percent in range(0, 101, 10):
        # An item: of its values a page needs the newest only.
        await publish("acme", "job.progress", {"name": job, "percent": percent}, circle_id=7, item_key=f"job:{job}")
        await asyncio.sleep(0.1)
    # An event of its own: every page gets it.
    await publish("acme", "job.finished", {"name": job}, circle_id=7)


@app.post("/jobs/{job}", status_code=202)
async def start_job(job: str, background: BackgroundTasks) -> None:
    background.add_task(run, job)


app.mount("/", StaticFiles(directory="public", html=True))
