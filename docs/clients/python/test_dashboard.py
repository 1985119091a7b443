#!/usr/bin/env python3
"""Starts a run and watches its tests through test_dashboard.

    python3 test_dashboard.py [PROCEDURE]
"""

import json
import sys

import websockets

from hub import HUB, ask, end_with, socket_url

TOPICS = ["suite:progress", "suite:completed", "test:completed", "logs"]


async def main(procedure):
    async with websockets.connect(socket_url("/api/ws/updates")) as socket:
        async def subscribe(**options):
            for topic in TOPICS:
                await socket.send(json.dumps({"type": "subscribe", "payload": {"topic": topic, **options}}))

        number, last, subscribed = None, None, 0
        async for text in socket:
            message = json.loads(text)
            kind, payload, sequence = message["type"], message["payload"], message["sequence"]
            if sequence is not None:
                if last is not None and sequence != last + 1:
                    print(f"missed {sequence - last - 1} messages: GET {HUB}/api/v1/runs/{number} has all")
                last = sequence
            if kind == "connected":
                print(f"connected as {payload['client_id']}")
                await subscribe()
            elif kind == "subscribed":
                subscribed += 1
                if subscribed == len(TOPICS):
                    number = ask("/api/v1/runs", {"procedure": procedure})["number"]
                    # The same topics again: now of this run alone.
                    await subscribe(filter={"suite_execution_id": number})
            elif kind == "error":
                sys.exit(payload["error"])
            elif payload.get("suite_execution_id") != number:
                continue
            elif kind == "suite_progress":
                print(f"{payload['progress_percent']:.0f} %, {payload['completed_tests']} of {payload['total_tests']}")
            elif kind == "test_completed":
                print(f"{payload['test_id']}: {'passed' if payload['success'] else payload.get('error', 'failed')}")
            elif kind == "log_entry":
                print(f"[{payload['level']}] {payload['message']}")
            elif kind == "suite_completed":
                print(f"{payload['passed_tests']} of {payload['total_tests']} passed in {payload['duration_seconds']:.1f} s")
                return 1 if "error" in payload else 0
    return 1


end_with(main)
