// Starts a run and watches its progress and metrics through solver_runs. A lost connection is made anew.
//
//     node solver_runs.mjs [PROCEDURE]

import { ask, endWith, messages, socketUrl } from "./hub.mjs";

export async function watch(procedure, say) {
  const { id } = await ask("/api/v1/runs", { procedure });
  for (let wait = 1000; ; wait = Math.min(wait * 2, 30_000)) {
    const socket = new WebSocket(socketUrl(`/api/v2/ws/runs/${id}`));
    const heartbeat = setInterval(() => socket.send(JSON.stringify({ type: "ping" })), 30_000);
    const end = await messages(socket, (message) => {
      // The server begins with where the run stands.
      wait = 1000;
      switch (message.type) {
        case "progress":
          say(`${message.percent.toFixed()} % ${message.phase}: ${message.message}`);
          break;
        case "metric_update":
          say(`${message.metric_name} = ${message.value} ${message.unit ?? ""}`);
          break;
        case "completed":
          say(`completed in ${message.compute_time_s.toFixed(1)} s`);
          for (const [name, value] of Object.entries(message.metrics_summary)) say(`  ${name} = ${value}`);
          return "completed";
        case "error":
          say(message.error);
          return "failed";
        case "cancelled":
          say("cancelled");
          return "cancelled";
      }
    }).catch((error) => say(error.message));
    clearInterval(heartbeat);
    if (end) return end === "completed";
    await new Promise((again) => setTimeout(again, wait));
  }
}

await endWith(watch);
