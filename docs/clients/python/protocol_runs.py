#!/usr/bin/env python3
"""Starts a run and watches it through protocol_runs, until the server closes the socket at the run's end.

    python3 protocol_runs.py [PROCEDURE]
"""

import json

import websockets

from hub import ask, end_with, socket_url


async def main(procedure):
    run = ask("/api/v1/runs", {"procedure": procedure})
    print(f"run {run['number']}: {run['id']}")
    end = None
    async with websockets.connect(socket_url(f"/api/v1/ws/execution/{run['id']}")) as socket:
        async for text in socket:
            message = json.loads(text)
            kind, payload = message["type"], message.get("payload", {})
            if kind == "status":
                print(f"is {payload['status']}, step {payload['step']}")
                end = payload["status"]
            elif kind == "progress":
                print(f"{payload['progress']:.0f} %")
            elif kind == "telemetry":
                print(f"{payload['metric']} = {payload['value']} {payload['unit']}")
            elif kind == "log":
                print(f"[{payload['level']}] {payload['message']}")
            elif kind == "error":
                print(f"failed: {payload['error']}")
            elif kind == "complete":
                print(f"complete at {message['timestamp']}")
    return 0 if end == "COMPLETED" else 1


end_with(main)
