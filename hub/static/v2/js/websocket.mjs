// websocket.js as a module. The script defines its names for the whole page; they are taken from there.
import "./websocket.js";

export const { ATPWebSocket, useATPWebSocket } = globalThis;
