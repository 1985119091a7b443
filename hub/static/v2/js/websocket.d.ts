// What websocket.js and websocket.mjs take and give. As a script tag they define the two names for the whole page.

export interface ATPWebSocketOptions {
  /** ws:, wss:, http: or https:, also relative to the page. Default: /api/ws/updates of the page's own host. */
  url?: string;
  /** Default: true. */
  autoReconnect?: boolean;
  /** First wait before a new attempt, in milliseconds. Default: 1000. */
  reconnectInterval?: number;
  /** Longest wait, in milliseconds. Default: 30000. */
  maxReconnectInterval?: number;
  /** What each further wait is multiplied by. Default: 1.5. */
  reconnectDecay?: number;
  /** `null`: for ever, which is the default. */
  maxReconnectAttempts?: number | null;
  /** Between two pings, in milliseconds; `null` or 0: no pings. Three without a word from the server end the connection. Default: 25000. */
  pingInterval?: number | null;
  /** Sent as `?token=`. A function is asked before each connection, for tokens that run out. */
  token?: string | (() => string | null | undefined);
  /** Sent as `?client_id=`, and kept. Default: the one that the server gives. */
  clientId?: string;
  /** For programs outside browsers that have no `WebSocket` of their own. Default: the global one. */
  WebSocket?: WebSocketConstructor;
}

export type WebSocketConstructor = new (url: string) => WebSocketLike;

/** As much of a browser's `WebSocket` as is used. */
export interface WebSocketLike {
  readonly readyState: number;
  onopen: ((event: any) => any) | null;
  onmessage: ((event: any) => any) | null;
  onerror: ((event: any) => any) | null;
  onclose: ((event: any) => any) | null;
  send(text: string): void;
  close(code?: number, reason?: string): void;
}

export type Topic =
  | "test:progress" | "test:completed" | "test:*"
  | "suite:progress" | "suite:completed" | "suite:*"
  | "events:*" | `events:${string}`
  | "logs" | "delta" | "*"
  | (string & {});

type FilterValue = string | number | boolean | null;

/** Fields of a payload that must equal a value, or one of a list of values. */
export type Filter = Record<string, FilterValue | readonly FilterValue[]>;

export interface TestProgress {
  suite_execution_id: number;
  test_execution_id: number;
  test_id: string;
  test_name: string;
  status: string;
  progress_percent: number;
  current_run: number;
  total_runs: number;
  message: string | null;
}

export interface TestCompleted {
  suite_execution_id: number;
  test_execution_id: number;
  test_id: string;
  test_name: string;
  success: boolean;
  score: number | null;
  duration_seconds: number;
  error?: string;
}

export interface SuiteProgress {
  suite_execution_id: number;
  suite_name: string;
  agent_name: string;
  status: string;
  progress_percent: number;
  completed_tests: number;
  total_tests: number;
  passed_tests: number;
  failed_tests: number;
}

export interface SuiteCompleted {
  suite_execution_id: number;
  suite_name: string;
  agent_name: string;
  success_rate: number;
  total_tests: number;
  passed_tests: number;
  failed_tests: number;
  duration_seconds: number;
  error?: string;
}

export interface LogEntry {
  suite_execution_id: number;
  test_execution_id: number | null;
  level: "debug" | "info" | "warning" | "error";
  message: string;
  timestamp: string;
  source: string;
}

export interface ATPEvent {
  suite_execution_id: number;
  test_execution_id: number | null;
  sequence: number;
  event_type: string;
  timestamp: string;
  payload: Record<string, unknown>;
  duration_ms: number | null;
}

export interface DeltaUpdate {
  resource_type: "test_execution" | "suite_execution";
  resource_id: number;
  sequence: number;
  changes: Record<string, unknown>;
}

/** What handlers of each event receive first. */
export interface ATPEvents {
  /** The server has greeted, and subscriptions are on their way. After a loss: what happened meanwhile is not sent again. */
  connect: { client_id: string };
  /** A connection ended, or an attempt came to nothing (1006). */
  disconnect: { code: number; reason: string };
  /** The socket failed, the server refused a request (then `error` says why), or sent what is no message. */
  error: { event: Event; error?: string };
  /** A new attempt will be made, after the wait that is due. The first is 1. */
  reconnecting: { attempt: number };
  /** No further attempt will be made. */
  reconnect_failed: { attempts: number };
  /** Messages `expected` to `received - 1` were lost. */
  sequence_gap: { expected: number; received: number };

  connected: { client_id: string };
  subscribed: { topic: string };
  unsubscribed: { topic: string };
  pong: Record<string, never>;
  test_progress: TestProgress;
  test_completed: TestCompleted;
  suite_progress: SuiteProgress;
  suite_completed: SuiteCompleted;
  log_entry: LogEntry;
  event: ATPEvent;
  delta_update: DeltaUpdate;
}

/** What handlers receive second. */
export interface Meta {
  type: string;
  /** When the server sent the message; of the client's own events, when they happened. */
  timestamp: string | null;
  /** Number of the message among those of this client; `null`: not counted. */
  sequence: number | null;
}

export type Handler<Data> = (data: Data, meta: Meta) => void;

export class ATPWebSocket {
  constructor(options?: ATPWebSocketOptions);
  /** The server has greeted, and the connection has not ended since. */
  readonly isConnected: boolean;
  /** As the server knows it; sent again when connecting again. */
  readonly clientId: string | null;
  /** Address of the next connection, without the token. */
  readonly url: string;
  /**
   * One attempt: resolved when the server has greeted, rejected when it fails. Whether it is tried again is up to
   * `autoReconnect`; `connect`, `disconnect` and the other events tell of that. While a wait is due, it is cut short.
   */
  connect(): Promise<void>;
  /** Ends the connection and all attempts. Subscriptions, handlers and the client's id are kept for another `connect()`. */
  disconnect(): void;
  /** At once or when connected, and on each connection from then on. The same topic again replaces its filter. */
  subscribe(topic: Topic, filter?: Filter | null): void;
  unsubscribe(topic: Topic): void;
  /** Returns a function that takes the handler away again. Handlers of `"*"` hear of everything, its type first. */
  on(type: "*", handler: (type: string, data: any, meta: Meta) => void): () => void;
  on<Type extends keyof ATPEvents>(type: Type, handler: Handler<ATPEvents[Type]>): () => void;
  on(type: string, handler: Handler<any>): () => void;
  off<Type extends keyof ATPEvents>(type: Type, handler: Handler<ATPEvents[Type]>): void;
  off(type: string, handler: (...told: any[]) => void): void;
  /** Takes all handlers of one type away. */
  offAll(type: string): void;
  /** Number of the last message that had one; 0 before the first. */
  getLastSequence(): number;
}

/** As much of React as is used. */
export interface ReactHooks {
  useState<State>(initial: State): [State, (next: State) => void];
  useEffect(effect: () => void | (() => void), dependencies?: readonly unknown[]): void;
  useRef<Value>(initial: Value): { current: Value };
}

export interface UseATPWebSocketOptions extends ATPWebSocketOptions {
  /** Default: the global `React`. */
  React?: ReactHooks;
}

/** Functions are the same in every rendering, and need no `this`. */
export interface ATPWebSocketHandle
  extends Pick<ATPWebSocket, "connect" | "disconnect" | "subscribe" | "unsubscribe" | "on" | "off"> {
  readonly ws: ATPWebSocket;
  readonly isConnected: boolean;
}

/** A connection of the component's own, for as long as it is there. Options are read once. */
export function useATPWebSocket(options?: UseATPWebSocketOptions): ATPWebSocketHandle;

declare global {
  var ATPWebSocket: typeof import("./websocket.js").ATPWebSocket;
  var useATPWebSocket: typeof import("./websocket.js").useATPWebSocket;
}
