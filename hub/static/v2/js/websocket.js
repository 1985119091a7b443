// The client of the hub's live updates (/api/ws/updates): one socket that comes back by itself, with its subscriptions and its id.
// A classic script: it defines ATPWebSocket and useATPWebSocket for the whole page. websocket.mjs is the same as a module,
// websocket.d.ts says what everything takes and gives.
(function (global) {
"use strict";

const PATH = "/api/ws/updates";
const DEFAULTS = {
  autoReconnect: true,
  reconnectInterval: 1000,
  maxReconnectInterval: 30000,
  reconnectDecay: 1.5,
  maxReconnectAttempts: null,
  pingInterval: 25000,
};
// So many pings without a word from the server, and the connection is taken for dead: a cable that was pulled closes nothing.
const UNANSWERED_PINGS = 3;
const OPEN = 1;
const CLEAN = 1000;
const LOST = 1006;

class ATPWebSocket {
  #settings;
  #handlers = new Map();
  // Topic, as the server compares it, to the request that subscribes to it.
  #subscriptions = new Map();
  #socket = null;
  #connecting = null;
  #greeted = false;
  #wanted = false;
  #attempts = 0;
  #retry = null;
  #heartbeat = null;
  #unanswered = 0;
  #clientId = null;
  #sequence = null;
  // No numbered message has come on this connection yet.
  #first = true;

  constructor(options = {}) {
    this.#settings = settings(options);
    this.#clientId = this.#settings.clientId ?? null;
  }

  get isConnected() {
    return this.#greeted;
  }

  get clientId() {
    return this.#clientId;
  }

  /** Address of the next connection, without the token. */
  get url() {
    return this.#address(false).href;
  }

  /** One attempt: resolved once the server has greeted, rejected when it fails. Whether it is tried again is another matter. */
  connect() {
    if (this.#connecting) return this.#connecting.promise;
    if (this.#greeted) return Promise.resolve();
    this.#wanted = true;
    return this.#attempt();
  }

  disconnect() {
    this.#wanted = false;
    this.#attempts = 0;
    clearTimeout(this.#retry);
    this.#retry = null;
    if (this.#socket) this.#end(this.#socket, CLEAN, "disconnected by the client");
  }

  subscribe(topic, filter) {
    const key = topicKey(topic);
    if (filter !== undefined && filter !== null && (typeof filter !== "object" || Array.isArray(filter))) {
      throw new TypeError(`filter of ${topic} is no filter: expected an object of field names and values`);
    }
    const request = JSON.stringify({ type: "subscribe", payload: filter ? { topic, filter } : { topic } });
    this.#subscriptions.set(key, request);
    if (this.#greeted) this.#send(request);
  }

  unsubscribe(topic) {
    const known = this.#subscriptions.delete(topicKey(topic));
    if (known && this.#greeted) this.#send(JSON.stringify({ type: "unsubscribe", payload: { topic } }));
  }

  /** Returns a function that takes the handler away again. */
  on(type, handler) {
    if (typeof handler !== "function") throw new TypeError(`handler of ${type} is ${typeof handler}, not a function`);
    const entry = { handler };
    const entries = this.#handlers.get(type) ?? new Set();
    this.#handlers.set(type, entries.add(entry));
    return () => {
      entries.delete(entry);
    };
  }

  off(type, handler) {
    const entries = this.#handlers.get(type);
    for (const entry of entries ?? []) if (entry.handler === handler) entries.delete(entry);
  }

  /** Takes all handlers of one type away. */
  offAll(type) {
    this.#handlers.get(type)?.clear();
    this.#handlers.delete(type);
  }

  /** Number of the last message that had one; 0 before the first. */
  getLastSequence() {
    return this.#sequence ?? 0;
  }

  #address(withToken) {
    const { url, token } = this.#settings;
    const page = global.location?.host ? global.location.href : undefined;
    let address;
    try {
      address = new URL(url ?? PATH, page);
    } catch {
      throw new TypeError(url ? `url is ${url}, which is none` : "url is missing, and there is no page to take it from");
    }
    address.protocol = { "http:": "ws:", "https:": "wss:" }[address.protocol] ?? address.protocol;
    if (this.#clientId !== null) address.searchParams.set("client_id", this.#clientId);
    const current = typeof token === "function" ? token() : token;
    if (withToken && current) address.searchParams.set("token", current);
    return address;
  }

  #attempt() {
    clearTimeout(this.#retry);
    this.#retry = null;
    let socket;
    try {
      const Socket = this.#settings.WebSocket ?? global.WebSocket;
      if (Socket === undefined) throw new TypeError("there is no WebSocket here: give one as the option WebSocket");
      socket = new Socket(this.#address(true).href);
    } catch (error) {
      // Nothing that time could mend.
      this.#wanted = false;
      report("connecting", error);
      return told(Promise.reject(error));
    }
    this.#socket = socket;
    this.#first = true;
    this.#unanswered = 0;
    this.#connecting = deferred();
    const { pingInterval } = this.#settings;
    if (pingInterval > 0) this.#heartbeat = setInterval(() => this.#beat(socket), pingInterval);
    // A socket that was given up is not heard any more, whatever it still says.
    socket.onmessage = (event) => {
      if (socket === this.#socket) this.#receive(event);
    };
    let opened = false;
    socket.onopen = () => {
      opened = true;
    };
    socket.onerror = (event) => {
      if (socket === this.#socket) this.#emit("error", { event });
      // The sockets of Node 20 say nothing more when they could not connect: no close follows.
      if (!opened) this.#end(socket, LOST, "");
    };
    socket.onclose = (event) => this.#end(socket, event?.code ?? LOST, event?.reason ?? "");
    return this.#connecting.promise;
  }

  #beat(socket) {
    if (this.#unanswered >= UNANSWERED_PINGS) {
      this.#end(socket, LOST, `nothing came after ${UNANSWERED_PINGS} pings`);
      return;
    }
    this.#unanswered += 1;
    if (socket.readyState === OPEN) this.#send(JSON.stringify({ type: "ping", payload: {} }));
  }

  #end(socket, code, reason) {
    if (socket !== this.#socket) return;
    this.#socket = null;
    this.#greeted = false;
    clearInterval(this.#heartbeat);
    const connecting = this.#connecting;
    this.#connecting = null;
    try {
      // Without an effect where it is closed already.
      socket.close(CLEAN);
    } catch (error) {
      report("closing the socket", error);
    }
    const failure = new Error(`not connected: closed with ${code}${reason && `, ${reason}`}`);
    connecting?.reject(Object.assign(failure, { code, reason }));
    this.#emit("disconnect", { code, reason });
    // A handler may have disconnected, or connected anew.
    if (this.#wanted && this.#settings.autoReconnect && !this.#socket && !this.#retry) this.#tryLater();
  }

  #tryLater() {
    const { reconnectInterval, reconnectDecay, maxReconnectInterval, maxReconnectAttempts } = this.#settings;
    if (maxReconnectAttempts !== null && this.#attempts >= maxReconnectAttempts) {
      const attempts = this.#attempts;
      this.#wanted = false;
      this.#attempts = 0;
      this.#emit("reconnect_failed", { attempts });
      return;
    }
    const delay = Math.min(reconnectInterval * reconnectDecay ** this.#attempts, maxReconnectInterval);
    this.#attempts += 1;
    this.#retry = setTimeout(() => this.#attempt(), delay);
    this.#emit("reconnecting", { attempt: this.#attempts });
  }

  #receive(event) {
    this.#unanswered = 0;
    let message;
    try {
      message = JSON.parse(event.data);
    } catch {
      message = null;
    }
    if (typeof message?.type !== "string") {
      this.#emit("error", { event, error: "a message that is not one: expected JSON with a type" });
      return;
    }
    const { type, timestamp = null, sequence = null } = message;
    const payload = message.payload ?? {};
    if (type === "connected") this.#greet(payload.client_id);
    if (Number.isInteger(sequence)) this.#count(sequence);
    const data = type === "error" ? { event, error: payload.error } : payload;
    this.#emit(type, data, { type, timestamp, sequence });
  }

  #greet(clientId) {
    const again = clientId !== undefined && clientId === this.#clientId;
    if (clientId !== undefined) this.#clientId = clientId;
    // Under another id the server counts anew.
    if (!again) this.#sequence = null;
    this.#greeted = true;
    this.#attempts = 0;
    for (const request of this.#subscriptions.values()) this.#send(request);
    this.#connecting?.resolve();
    this.#connecting = null;
    this.#emit("connect", { client_id: this.#clientId });
  }

  #count(sequence) {
    const last = this.#sequence;
    // A server that was started again begins with 1.
    const restarted = this.#first && last !== null && sequence <= last;
    this.#first = false;
    this.#sequence = sequence;
    const expected = restarted ? 1 : last + 1;
    if (last !== null && sequence > expected) this.#emit("sequence_gap", { expected, received: sequence });
  }

  #send(text) {
    try {
      this.#socket?.send(text);
    } catch (error) {
      // It is closing; its end is told of in a moment, and what was asked is asked again on the next connection.
      report("sending", error);
    }
  }

  #emit(type, data, meta = { type, timestamp: new Date().toISOString(), sequence: null }) {
    this.#tell(type, type, [data, meta]);
    // Handlers of "*" hear of everything, and of what.
    this.#tell("*", type, [type, data, meta]);
  }

  #tell(name, type, told) {
    const entries = this.#handlers.get(name);
    // Handlers that are added meanwhile wait for the next one, those taken away are not called any more.
    for (const entry of [...(entries ?? [])]) {
      if (!entries.has(entry)) continue;
      try {
        entry.handler(...told);
      } catch (error) {
        report(`a handler of ${type}`, error);
      }
    }
  }
}

function settings(options) {
  const found = { ...DEFAULTS };
  for (const [name, value] of Object.entries(options)) if (value !== undefined) found[name] = value;
  const number = (name, least, optional) => {
    const value = found[name];
    if (optional && value === null) return;
    if (typeof value !== "number" || !(value >= least)) {
      throw new TypeError(`${name} is ${String(value)}: expected a number, at least ${least}`);
    }
  };
  number("reconnectInterval", 0);
  number("maxReconnectInterval", 0);
  number("reconnectDecay", 1);
  number("maxReconnectAttempts", 0, true);
  number("pingInterval", 0, true);
  return found;
}

// The server compares topics without regard to case and to spaces around them.
function topicKey(topic) {
  const key = typeof topic === "string" ? topic.trim().toLowerCase() : "";
  if (key === "") throw new TypeError(`topic is ${String(topic)}: expected a text such as test:progress`);
  return key;
}

function deferred() {
  const parts = {};
  parts.promise = told(new Promise((resolve, reject) => Object.assign(parts, { resolve, reject })));
  return parts;
}

// Who does not wait for the promise hears of a failure by events; it is no unhandled rejection.
function told(promise) {
  promise.catch(() => {});
  return promise;
}

function report(what, error) {
  console.error(`ATPWebSocket: ${what}:`, error);
}

/**
 * A connection for as long as the component is there. Options are read when it appears. All functions stay the same from one
 * rendering to the next, so that they may stand among the dependencies of an effect.
 */
function useATPWebSocket(options = {}) {
  const { React = global.React, ...own } = options;
  if (!React) throw new TypeError("there is no React here: give it as the option React");
  const kept = React.useRef(null);
  kept.current ??= handles(new ATPWebSocket(own));
  const { ws } = kept.current;
  const [isConnected, setConnected] = React.useState(false);
  React.useEffect(() => {
    const cleanups = [ws.on("connect", () => setConnected(true)), ws.on("disconnect", () => setConnected(false))];
    setConnected(ws.isConnected);
    ws.connect();
    return () => {
      for (const cleanup of cleanups) cleanup();
      ws.disconnect();
    };
  }, [ws]);
  return { ...kept.current, isConnected };
}

function handles(ws) {
  const bound = { ws };
  for (const name of ["connect", "disconnect", "subscribe", "unsubscribe", "on", "off"]) bound[name] = ws[name].bind(ws);
  return bound;
}

global.ATPWebSocket = ATPWebSocket;
global.useATPWebSocket = useATPWebSocket;
})(globalThis);
