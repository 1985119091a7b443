"""A WebSocket client that shares no code with the hub: many sockets at once, everything that arrives as JSON lines.

Commands come as one JSON object per line on stdin:
  {"do": "open", "name": N, "url": U, "send": [...], "after": K}   sends the texts once K messages have arrived
  {"do": "send", "name": N, "text": T}
  {"do": "close", "name": N}
Lines go to stdout: {"name": N, "is": "open" | "message" | "closed" | "failed", ...}. End of stdin ends everything.
Needs python3-websockets 10 or newer.
"""

import asyncio
import json
import sys

import websockets

sockets = {}


def say(name, kind, **more):
    print(json.dumps({"name": name, "is": kind, **more}), flush=True)


async def watch(name, url, texts, after):
    try:
        # The proxy of the environment is never meant for loopback; a message of any size is the hub's own business.
        socket = await websockets.connect(url, max_size=None, open_timeout=20, close_timeout=5, max_queue=None)
    except websockets.exceptions.InvalidStatusCode as error:
        say(name, "failed", status=error.status_code, cause=str(error))
        return
    except Exception as error:  # whatever it is, the test wants to read it
        say(name, "failed", status=None, cause=f"{type(error).__name__}: {error}")
        return
    sockets[name] = socket
    say(name, "open")
    try:
        count = 0
        if after == 0:
            for text in texts:
                await socket.send(text)
        async for message in socket:
            count += 1
            if isinstance(message, bytes):
                say(name, "message", bytes=message.hex())
            else:
                say(name, "message", text=message)
            if count == after:
                for text in texts:
                    await socket.send(text)
    except websockets.exceptions.ConnectionClosed:
        pass
    finally:
        sockets.pop(name, None)
    say(name, "closed", code=socket.close_code, reason=socket.close_reason)


async def main():
    commands = asyncio.StreamReader(limit=2**26)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    tasks = set()
    while line := await commands.readline():
        command = json.loads(line)
        name = command["name"]
        if command["do"] == "open":
            watched = watch(name, command["url"], command.get("send", []), command.get("after", 0))
            task = asyncio.create_task(watched)
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            continue
        socket = sockets.get(name)
        if socket is None:
            say(name, "failed", status=None, cause=f"{command['do']}: not open")
        elif command["do"] == "send":
            try:
                await socket.send(command["text"])
            except websockets.exceptions.ConnectionClosed:
                say(name, "failed", status=None, cause="send: closed")
        elif command["do"] == "close":
            await socket.close()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


asyncio.run(main())
