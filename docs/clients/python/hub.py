"""What the clients beside this file have in common: where the hub is, how it is asked, and how a client ends."""

import asyncio
import json
import os
import sys
import urllib.error
import urllib.request

import websockets

HUB = os.environ.get("RIGWIRE_URL", "http://127.0.0.1:8000")
TOKEN = os.environ.get("RIGWIRE_TOKEN")


def ask(path, body=None):
    """GET, or POST when there is a body."""
    request = urllib.request.Request(HUB + path, None if body is None else json.dumps(body).encode())
    if TOKEN:
        request.add_header("Authorization", f"Bearer {TOKEN}")
    try:
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        sys.exit(f"{path}: {error.code} {json.load(error)['detail']}")


def socket_url(path):
    return HUB.replace("http", "ws", 1) + path + (f"?token={TOKEN}" if TOKEN else "")


def end_with(main):
    """Ends with what `main` says of the procedure that the first argument names."""
    try:
        sys.exit(asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "demo-ramp")))
    except websockets.ConnectionClosed as error:
        sys.exit(f"connection lost: {error}")
    except OSError as error:
        sys.exit(f"{HUB}: {error}")
