// The client library in a program of its own, told on stdin what to do and telling on stdout what happens: JSON, one object per line.
// Argument: the constructor's options. Commands: {"call": METHOD, "with": [ARGUMENTS]}. End of stdin disconnects and ends.

import { createInterface } from "node:readline";

import { ATPWebSocket } from "../../../hub/static/v2/js/websocket.mjs";

const EVENTS = [
  "connect", "disconnect", "error", "reconnecting", "reconnect_failed", "sequence_gap",
  "connected", "subscribed", "unsubscribed", "pong",
  "test_progress", "test_completed", "suite_progress", "suite_completed", "log_entry", "event", "delta_update",
];

const say = (line) => console.log(JSON.stringify(line));
const ws = new ATPWebSocket(JSON.parse(process.argv[2]));
for (const type of EVENTS) {
  // An event of a socket has nothing in it that JSON could hold.
  ws.on(type, ({ event, ...data }, meta) => say({ type, data, sequence: meta.sequence, url: ws.url }));
}

for await (const line of createInterface({ input: process.stdin })) {
  const { call, with: values = [] } = JSON.parse(line);
  const answer = ws[call](...values);
  if (call === "connect") answer.then(() => say({ type: "resolved" }), ({ message }) => say({ type: "rejected", data: message }));
}
ws.disconnect();
