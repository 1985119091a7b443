// Uses of the client library that must type-check, and some that must not. Never run: .ci/run types

import { ATPWebSocket as AsModule, useATPWebSocket as useAsModule } from "../../../hub/static/v2/js/websocket.mjs";
import { ATPWebSocket, type ATPWebSocketOptions, type ReactHooks, type WebSocketLike } from "../../../hub/static/v2/js/websocket.js";

const options: ATPWebSocketOptions = {
  url: "ws://localhost:8000/api/ws/updates",
  autoReconnect: true,
  reconnectInterval: 1000,
  maxReconnectInterval: 30000,
  reconnectDecay: 1.5,
  maxReconnectAttempts: null,
  pingInterval: 25000,
  token: () => "fresh",
  WebSocket: class implements WebSocketLike {
    readyState = 0;
    onopen = null;
    onmessage = null;
    onerror = null;
    onclose = null;
    constructor(readonly url: string) {}
    send(_text: string): void {}
    close(): void {}
  },
};

export async function documented(): Promise<string> {
  const ws = new ATPWebSocket(options);
  const handler = (data: { progress_percent: number }) => console.log(data.progress_percent.toFixed(1));
  ws.on("test_progress", handler);
  ws.off("test_progress", handler);
  ws.on("test_progress", (data, meta) => console.log(data.test_id.length, meta.sequence?.toFixed()));
  ws.on("suite_completed", ({ success_rate, error }) => console.log(success_rate * 100, error?.length));
  ws.on("delta_update", ({ resource_type }) => resource_type === "test_execution");
  ws.on("disconnect", ({ code, reason }) => console.log(code + 1, reason.length));
  ws.on("error", ({ event, error }) => console.error(event.type, error?.length));
  ws.on("reconnecting", ({ attempt }) => attempt + 1);
  ws.on("reconnect_failed", ({ attempts }) => attempts + 1);
  ws.on("sequence_gap", ({ expected, received }) => received - expected);
  ws.on("something_new", (data) => console.log(data.anything));
  const cleanup: () => void = ws.on("connect", () => {});
  cleanup();
  ws.subscribe("test:progress", { suite_execution_id: 123, level: ["error", "warning"] });
  ws.subscribe("events:llm_request");
  ws.unsubscribe("test:progress");
  await ws.connect();
  ws.disconnect();
  // @ts-expect-error no such option
  new ATPWebSocket({ reconnectIntervall: 1 });
  // @ts-expect-error a number
  ws.on("test_progress", ({ progress_percent }) => progress_percent.length);
  // @ts-expect-error a filter has fields
  ws.subscribe("logs", "error");
  // @ts-expect-error it is read only
  ws.isConnected = true;
  return ws.clientId ?? ws.url;
}

export function asScript(): boolean {
  return new globalThis.ATPWebSocket().isConnected && new AsModule(options).isConnected;
}

export function component(React: ReactHooks, suite: number): number {
  const { isConnected, subscribe, on, ws } = useAsModule({ React, ...options });
  const [progress, setProgress] = React.useState(0);
  React.useEffect(() => {
    subscribe("test:progress", { suite_execution_id: suite });
    return on("test_progress", (data) => setProgress(data.progress_percent));
  }, [suite, on, subscribe]);
  return isConnected && ws.isConnected ? progress : 0;
}
