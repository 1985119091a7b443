#!/usr/bin/env python3
"""Starts a run and watches it and its devices through device_farm. What must arrive is acknowledged, and a lost connection
made anew.

    python3 device_farm.py [PROCEDURE]
"""

import json

import websockets

from hub import HUB, ask, end_with, socket_url


async def main(procedure):
    execution = ask("/api/v1/runs", {"procedure": procedure})["id"]
    devices = set()
    # Connects again with growing waits whenever the connection breaks; what happened meanwhile is not sent again.
    async for socket in websockets.connect(socket_url(f"/ws/executions/{execution}")):
        try:
            async for text in socket:
                message = json.loads(text)
                kind, device = message["type"], message.get("device_id")
                where = f" on {device}" if device else ""
                if "message_id" in message:
                    await socket.send(json.dumps({"type": "ack", "message_id": message["message_id"]}))
                if device and device not in devices:
                    devices.add(device)
                    await socket.send(json.dumps({"type": "subscribe_device", "device_id": device}))
                if kind == "execution_progress":
                    print(f"{message['progress_percentage']} % {message['current_step']}")
                elif kind == "device_status":
                    print(f"{device} is {message['status']}")
                elif kind == "step_completed":
                    print(f"{message['module_id']}{where}: {message['status']}, {message['duration_seconds']} s")
                elif kind == "step_failed":
                    more = ", will be repeated" if message["will_retry"] else ""
                    print(f"{message['module_id']}{where}: {message['error_code']} {message['error_message']}{more}")
                elif kind == "log_entry":
                    print(f"[{message['level']}] {message['message']}")
                elif kind == "error":
                    print(f"{message['code']}: {message['message']}")
                    # It ended while nobody was connected, or nobody may look any more: the socket is closed.
                    if message["code"] in ("EXECUTION_NOT_ACTIVE", "INVALID_EXECUTION_ID", "UNAUTHORIZED"):
                        return 0 if ask(f"/api/v1/runs/{execution}")["status"] == "completed" else 1
                elif kind == "execution_completed":
                    print(f"{message['status']}: {message['successful_steps']} of {message['total_steps']} steps")
                    print(f"report: {HUB}{message['report_url']}")
                    return 0 if message["status"] == "completed" else 1
        except websockets.ConnectionClosedError as error:
            print(f"connection lost: {error}")


end_with(main)
