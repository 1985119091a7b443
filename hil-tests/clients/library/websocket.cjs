// For a Node that has no WebSocket of its own: the one of Debian's node-ws.
globalThis.WebSocket ??= require("ws");
