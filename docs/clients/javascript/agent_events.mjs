// Has a typed command answered, then starts a run and watches it, through agent_events.
//
//     node agent_events.mjs [PROCEDURE]

import { ask, endWith, messages, socketUrl } from "./hub.mjs";

const EVENTS = ["workflowStart", "workflowProgress", "nodeStatusUpdate", "workflowLog", "workflowComplete", "workflowError"];

export async function watch(procedure, say) {
  const socket = new WebSocket(socketUrl("/ws/events"));
  const send = (type, payload) => socket.send(JSON.stringify({ type, payload, id: type }));
  const heartbeat = setInterval(() => send("PING", {}), 30_000);
  let started;
  const end = messages(socket, async ({ type, payload, correlation_id: answered }) => {
    if (type === "chatMessage") {
      say(`${payload.sender}: ${payload.content}`);
      // The welcome; then the answer to the command; then the answer to the subscription.
      if (answered === undefined) send("DSL_COMMAND", { command: "devices" });
      else if (answered === "DSL_COMMAND") send("SUBSCRIBE_EVENTS", { event_types: EVENTS });
      else if (answered === "SUBSCRIBE_EVENTS") await (started = ask("/api/v1/runs", { procedure }));
      return;
    }
    if (type === "error") throw new Error(`${payload.code}: ${payload.message}`);
    // Events may be here before the answer that tells the run's id.
    const run = await started;
    if (payload.workflowId !== run?.id) return;
    switch (type) {
      case "workflowStart":
        say(`${run.id}: ${payload.nodes.length} nodes`);
        break;
      case "nodeStatusUpdate":
        say(`${payload.nodeId} is ${payload.status}`);
        break;
      case "workflowProgress":
        say(`${payload.progress} % ${payload.message}`);
        break;
      case "workflowLog":
        say(`[${payload.level}] ${payload.message}`);
        break;
      case "workflowComplete":
        say(`complete after ${payload.duration} s: ${JSON.stringify(payload.results)}`);
        return true;
      case "workflowError":
        say(`failed: ${payload.error}`);
        return false;
    }
  });
  return end.finally(() => clearInterval(heartbeat));
}

await endWith(watch);
