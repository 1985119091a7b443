#!/usr/bin/env python3
"""Starts a run and watches it and its devices through device_farm, with acknowledgements, over lost connections.

    python3 device_farm.py [PROCEDURE]
"""

import asyncio
import json

import websockets

from hub import HUB, ask, end_with, socket_url


def tell(message):
    """The status that the run ended with, if this is its end."""
    kind, device = message["type"], message.get("device_id")
    where = f" on {device}" if device else ""
    if kind == "execution_progress":
        print(f"{message['progress_percentage']} % {message['current_step']}")
    elif kind == "device_status":
        print(f"{device} is {message['status']}")
    elif kind == "step_completed":
        print(f"{message['module_id']}{where}: {message['status']}, {message['duration_seconds']} s")
    elif kind == "step_failed":
        print(f"{message['module_id']}{where}: {message['error_code']} {message['error_message']}")
    elif kind == "log_entry":
        print(f"[{message['level']}] {message['message']}")
    elif kind == "error":
        print(f"{message['code']}: {message['message']}")
        # It ended while nobody was connected, or nobody may look any more: the socket is closed.
        if message["code"] in ("EXECUTION_NOT_ACTIVE", "INVALID_EXECUTION_ID", "UNAUTHORIZED"):
            return ask(f"/api/v1/runs/{message['execution_id']}")["status"]
    elif kind == "execution_completed":
        print(f"{message['status']}: {message['successful_steps']} of {message['total_steps']} steps")
        print(f"report: {HUB}{message['report_url']}")
        return message["status"]


async def main(procedure):
    execution = ask("/api/v1/runs", {"procedure": procedure})["id"]
    # Connects again with growing waits while there is no hub; what happened meanwhile is not sent again.
    async for socket in websockets.connect(socket_url(f"/ws/executions/{execution}")):
        devices = set()
        try:
            async for text in socket:
                message = json.loads(text)
                end = tell(message)
                if end:
                    return 0 if end == "completed" else 1
                if "message_id" in message:
                    await socket.send(json.dumps({"type": "ack", "message_id": message["message_id"]}))
                device = message.get("device_id")
                if device and device not in devices:
                    devices.add(device)
                    await socket.send(json.dumps({"type": "subscribe_device", "device_id": device}))
        except websockets.ConnectionClosedError as error:
            print(f"connection lost: {error}")
        await asyncio.sleep(1)


end_with(main)
