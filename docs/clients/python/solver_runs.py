#!/usr/bin/env python3
"""Starts a run and watches its progress and metrics through solver_runs. A lost connection is made anew.

    python3 solver_runs.py [PROCEDURE]
"""

import asyncio
import json

import websockets

from hub import ask, end_with, socket_url


async def ping(socket):
    while True:
        await asyncio.sleep(30)
        await socket.send(json.dumps({"type": "ping"}))


async def watch(socket):
    async for text in socket:
        message = json.loads(text)
        kind = message["type"]
        if kind == "progress":
            print(f"{message['percent']:.0f} % {message['phase']}: {message['message']}")
        elif kind == "metric_update":
            print(f"{message['metric_name']} = {message['value']} {message['unit'] or ''}")
        elif kind == "completed":
            print(f"completed in {message['compute_time_s']:.1f} s")
            for name, value in message["metrics_summary"].items():
                print(f"  {name} = {value}")
            return 0
        elif kind in ("error", "cancelled"):
            print(message.get("error", "cancelled"))
            return 1


async def main(procedure):
    run = ask("/api/v1/runs", {"procedure": procedure})["id"]
    # Connects again with growing waits whenever the connection breaks; the server begins with where the run stands.
    async for socket in websockets.connect(socket_url(f"/api/v2/ws/runs/{run}")):
        heartbeat = asyncio.create_task(ping(socket))
        try:
            return await watch(socket)
        except websockets.ConnectionClosedError as error:
            print(f"connection lost: {error}")
        finally:
            heartbeat.cancel()
        await asyncio.sleep(1)


end_with(main)
