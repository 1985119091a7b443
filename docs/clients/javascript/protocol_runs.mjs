// Starts a run and watches it through protocol_runs, until the server closes the socket at the run's end.
//
//     node protocol_runs.mjs [PROCEDURE]

import { ask, endWith, messages, socketUrl } from "./hub.mjs";

export async function watch(procedure, say) {
  const run = await ask("/api/v1/runs", { procedure });
  say(`run ${run.number}: ${run.id}`);
  let end;
  const socket = new WebSocket(socketUrl(`/api/v1/ws/execution/${run.id}`));
  const closed = await messages(socket, ({ type, payload, timestamp }) => {
    switch (type) {
      case "status":
        say(`is ${payload.status}, step ${payload.step}`);
        end = payload.status;
        break;
      case "progress":
        say(`${payload.progress.toFixed()} %`);
        break;
      case "telemetry":
        say(`${payload.metric} = ${payload.value} ${payload.unit}`);
        break;
      case "log":
        say(`[${payload.level}] ${payload.message}`);
        break;
      case "error":
        say(`failed: ${payload.error}`);
        break;
      case "complete":
        say(`complete at ${timestamp}`);
        break;
    }
  }).catch((error) => error);
  if (closed.code !== 1000) throw closed;
  return end === "COMPLETED";
}

await endWith(watch);
