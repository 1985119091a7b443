#!/usr/bin/env python3
"""Has a typed command answered, then starts a run and watches it, through agent_events.

    python3 agent_events.py [PROCEDURE]
"""

import json
import sys

import websockets

from hub import ask, end_with, socket_url

EVENTS = ["workflowStart", "workflowProgress", "nodeStatusUpdate", "workflowLog", "workflowComplete", "workflowError"]


async def main(procedure):
    async with websockets.connect(socket_url("/ws/events")) as socket:
        async def send(kind, **payload):
            await socket.send(json.dumps({"type": kind, "payload": payload, "id": kind}))

        workflow = None
        async for text in socket:
            message = json.loads(text)
            kind, payload = message["type"], message["payload"]
            if kind == "chatMessage":
                print(f"{payload['sender']}: {payload['content']}")
                # The welcome; then the answer to the command; then the answer to the subscription.
                answered = message.get("correlation_id")
                if answered is None:
                    await send("DSL_COMMAND", command="devices")
                elif answered == "DSL_COMMAND":
                    await send("SUBSCRIBE_EVENTS", event_types=EVENTS)
                elif answered == "SUBSCRIBE_EVENTS":
                    workflow = ask("/api/v1/runs", {"procedure": procedure})["id"]
            elif kind == "error":
                sys.exit(f"{payload['code']}: {payload['message']}")
            elif payload.get("workflowId") not in (None, workflow):
                continue  # somebody else's
            elif kind == "workflowStart":
                print(f"{workflow}: {len(payload['nodes'])} nodes")
            elif kind == "nodeStatusUpdate":
                print(f"{payload['nodeId']} is {payload['status']}")
            elif kind == "workflowProgress":
                print(f"{payload['progress']} % {payload['message']}")
            elif kind == "workflowLog":
                print(f"[{payload['level']}] {payload['message']}")
            elif kind == "workflowComplete":
                print(f"complete after {payload['duration']} s: {json.dumps(payload['results'])}")
                return 0
            elif kind == "workflowError":
                print(f"failed: {payload['error']}")
                return 1
    return 1


end_with(main)
