// Starts a run and watches it and its devices through device_farm. What must arrive is acknowledged, and a lost connection made anew.
//
//     node device_farm.mjs [PROCEDURE]

import { HUB, ask, endWith, messages, socketUrl } from "./hub.mjs";

export async function watch(procedure, say) {
  const { id } = await ask("/api/v1/runs", { procedure });
  for (let wait = 1000; ; wait = Math.min(wait * 2, 30_000)) {
    const socket = new WebSocket(socketUrl(`/ws/executions/${id}`));
    const devices = new Set();
    const end = await messages(socket, async (message) => {
      wait = 1000;
      const send = (answer) => socket.send(JSON.stringify(answer));
      const device = message.device_id;
      const where = device ? ` on ${device}` : "";
      if (message.message_id) send({ type: "ack", message_id: message.message_id });
      if (device && !devices.has(device)) send({ type: "subscribe_device", device_id: device });
      devices.add(device);
      switch (message.type) {
        case "execution_progress":
          say(`${message.progress_percentage} % ${message.current_step}`);
          break;
        case "device_status":
          say(`${device} is ${message.status}`);
          break;
        case "step_completed":
          say(`${message.module_id}${where}: ${message.status}, ${message.duration_seconds} s`);
          break;
        case "step_failed":
          say(`${message.module_id}${where}: ${message.error_code} ${message.error_message}`);
          if (message.will_retry) say("it will be repeated");
          break;
        case "log_entry":
          say(`[${message.level}] ${message.message}`);
          break;
        case "error":
          say(`${message.code}: ${message.message}`);
          // It ended while nobody was connected, or nobody may look any more: the socket is closed.
          if (["EXECUTION_NOT_ACTIVE", "INVALID_EXECUTION_ID", "UNAUTHORIZED"].includes(message.code)) {
            return (await ask(`/api/v1/runs/${id}`)).status;
          }
          break;
        case "execution_completed":
          say(`${message.status}: ${message.successful_steps} of ${message.total_steps} steps`);
          say(`report: ${HUB}${message.report_url}`);
          return message.status;
      }
    }).catch((error) => say(error.message));
    if (end) return end === "completed";
    await new Promise((again) => setTimeout(again, wait));
  }
}

await endWith(watch);
