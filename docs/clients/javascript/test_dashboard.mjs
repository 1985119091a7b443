// Starts a run and watches its tests through test_dashboard, with the client library that the hub serves.
//
//     node test_dashboard.mjs [PROCEDURE]

import { HUB, TOKEN, ask, endWith } from "./hub.mjs";

// Node loads modules from files only: there it is taken from the hub's sources.
const library = typeof process === "undefined" ? `${HUB}/static/v2/js` : "../../../hub/static/v2/js";
const { ATPWebSocket } = await import(`${library}/websocket.mjs`);

export async function watch(procedure, say) {
  const ws = new ATPWebSocket({ url: `${HUB}/api/ws/updates`, token: TOKEN ?? undefined });
  const topics = ["suite:progress", "suite:completed", "test:completed", "logs"];
  const subscribed = new Promise((resolve) => ws.on("subscribed", ({ topic }) => topic === topics.at(-1) && resolve()));
  for (const topic of topics) ws.subscribe(topic);
  ws.on("connect", ({ client_id }) => say(`connected as ${client_id}`));
  ws.on("disconnect", ({ code, reason }) => say(`closed: ${code} ${reason}`));
  ws.on("error", ({ error }) => error && say(error));
  try {
    await ws.connect();
    await subscribed;
    return await new Promise((resolve, reject) => {
      // Events may be here before the answer that tells the run's number.
      const started = ask("/api/v1/runs", { procedure }).catch(reject);
      const of = (type, show) => ws.on(type, async (data) => data.suite_execution_id === (await started)?.number && show(data));
      of("suite_progress", (data) => say(`${data.progress_percent.toFixed()} %, ${data.completed_tests} of ${data.total_tests}`));
      of("test_completed", (data) => say(`${data.test_id}: ${data.success ? "passed" : (data.error ?? "failed")}`));
      of("log_entry", (data) => say(`[${data.level}] ${data.message}`));
      of("suite_completed", (data) => {
        say(`${data.passed_tests} of ${data.total_tests} passed in ${data.duration_seconds.toFixed(1)} s`);
        resolve(data.error === undefined);
      });
      // What happened while the connection was lost is not sent again: ask where the run stands.
      const catchUp = async () => {
        const run = await started;
        const { status } = run ? await ask(`/api/v1/runs/${run.id}`) : {};
        if (["completed", "failed", "cancelled"].includes(status)) resolve(status === "completed");
      };
      for (const type of ["connect", "sequence_gap"]) ws.on(type, () => catchUp().catch(reject));
      // The same topics again: now of this run alone.
      started.then((run) => topics.forEach((topic) => run && ws.subscribe(topic, { suite_execution_id: run.number })));
    });
  } finally {
    ws.disconnect();
  }
}

await endWith(watch);
