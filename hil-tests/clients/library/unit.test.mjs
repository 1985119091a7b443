// What the client library does, without a server and without waiting: node --test unit.test.mjs

import assert from "node:assert/strict";
import { afterEach, beforeEach, mock, test } from "node:test";

import { ATPWebSocket, useATPWebSocket } from "../../../hub/static/v2/js/websocket.mjs";
import { Clock, Component, socketClass } from "./fakes.mjs";

const URL_OF_HUB = "ws://hub:8000/api/ws/updates";
const OWN_EVENTS = ["connect", "disconnect", "error", "reconnecting", "reconnect_failed", "sequence_gap"];

let clock;
let Socket;
let complaints;

beforeEach(() => {
  clock = new Clock();
  Socket = socketClass();
  complaints = mock.method(console, "error", () => {});
});

afterEach(() => {
  clock.restore();
  complaints.mock.restore();
  delete globalThis.location;
});

function client(options = {}) {
  const ws = new ATPWebSocket({ url: URL_OF_HUB, WebSocket: Socket, ...options });
  const told = [];
  for (const type of OWN_EVENTS) ws.on(type, (data) => told.push([type, data]));
  const of = (type) => told.filter(([name]) => name === type).map(([, data]) => data);
  return { ws, told, of };
}

function connected(options) {
  const made = client(options);
  made.ws.connect();
  Socket.last.greet();
  return made;
}

const sentOf = (type) => Socket.last.sent.filter((message) => message.type === type).map((message) => message.payload);

test("connect is done when the server has greeted, and the same attempt is shared", async () => {
  const { ws, told } = client();
  const first = ws.connect();
  assert.equal(ws.connect(), first);
  assert.equal(Socket.made.length, 1);
  assert.equal(ws.isConnected, false);
  Socket.last.greet("c-9");
  await first;
  await ws.connect();
  assert.deepEqual([ws.isConnected, ws.clientId, Socket.made.length], [true, "c-9", 1]);
  assert.deepEqual(told, [["connect", { client_id: "c-9" }]]);
});

test("what was subscribed to is asked for after the greeting, and again on each connection", () => {
  const { ws } = client();
  const filter = { suite_execution_id: 123 };
  ws.subscribe("test:progress", filter);
  filter.suite_execution_id = 7;
  ws.subscribe("logs");
  ws.subscribe("delta", { resource_type: ["test_execution"] });
  ws.unsubscribe("delta");
  ws.connect();
  assert.deepEqual(Socket.last.sent, []);
  Socket.last.greet();
  const expected = [{ topic: "test:progress", filter: { suite_execution_id: 123 } }, { topic: "logs" }];
  assert.deepEqual(sentOf("subscribe"), expected);
  assert.deepEqual(sentOf("unsubscribe"), []);

  ws.subscribe("suite:*");
  ws.subscribe(" LOGS ", { level: "error" });
  ws.unsubscribe("Test:Progress");
  ws.unsubscribe("never asked for");
  assert.deepEqual(sentOf("subscribe").slice(2), [{ topic: "suite:*" }, { topic: " LOGS ", filter: { level: "error" } }]);
  assert.deepEqual(sentOf("unsubscribe"), [{ topic: "Test:Progress" }]);

  Socket.last.drop(1006, "");
  ws.subscribe("test:completed");
  clock.pass(1000);
  Socket.last.greet();
  const restored = [{ topic: " LOGS ", filter: { level: "error" } }, { topic: "suite:*" }, { topic: "test:completed" }];
  assert.deepEqual(sentOf("subscribe"), restored);
});

test("waits grow as documented, are not random, and begin anew after a connection", () => {
  const { ws, of } = connected();
  const waits = [];
  for (let attempt = 1; attempt <= 12; attempt += 1) {
    Socket.last.fail();
    const [made, since] = [Socket.made.length, clock.now];
    while (Socket.made.length === made) clock.pass(1);
    waits.push(clock.now - since);
  }
  const exact = Array.from({ length: 12 }, (_, index) => Math.min(1000 * 1.5 ** index, 30000));
  assert.deepEqual(waits, exact.map(Math.ceil));
  assert.deepEqual(of("reconnecting").map(({ attempt }) => attempt), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
  assert.deepEqual(of("error")[0], { event: { type: "error" } });
  Socket.last.greet();
  Socket.last.drop(1001, "the hub is stopping");
  assert.deepEqual(of("disconnect").at(-1), { code: 1001, reason: "the hub is stopping" });
  assert.deepEqual(of("reconnecting").at(-1), { attempt: 1 });
  const made = Socket.made.length;
  clock.pass(999);
  assert.equal(Socket.made.length, made);
  clock.pass(1);
  assert.equal(Socket.made.length, made + 1);
  ws.disconnect();
});

test("a socket that could not connect and never closes is over, too", async () => {
  const { ws, told } = client();
  const attempt = ws.connect();
  const silent = Socket.last;
  silent.onerror({ type: "error" });
  await assert.rejects(attempt, { code: 1006 });
  assert.deepEqual(told.map(([type]) => type), ["error", "disconnect", "reconnecting"]);
  silent.drop(1006, "");
  clock.pass(1000);
  assert.deepEqual([told.length, Socket.made.length, silent.closedWith], [3, 2, 1000]);
  // One that was open closes, and says how.
  Socket.last.greet();
  Socket.last.onerror({ type: "error" });
  assert.equal(ws.isConnected, true);
  Socket.last.drop(1002, "reserved bits");
  assert.deepEqual(told.at(-2), ["disconnect", { code: 1002, reason: "reserved bits" }]);
  ws.disconnect();
});

test("attempts end at their limit, or are not made at all", async () => {
  const limited = client({ maxReconnectAttempts: 2, reconnectInterval: 10 });
  const attempt = limited.ws.connect();
  Socket.last.fail();
  await assert.rejects(attempt, { message: "not connected: closed with 1006", code: 1006 });
  clock.pass(10);
  Socket.last.fail();
  clock.pass(15);
  Socket.last.fail();
  assert.deepEqual(limited.of("reconnecting"), [{ attempt: 1 }, { attempt: 2 }]);
  assert.deepEqual(limited.of("reconnect_failed"), [{ attempts: 2 }]);
  assert.equal(clock.pending, 0);
  limited.ws.connect();
  Socket.last.greet();
  assert.equal(limited.ws.isConnected, true);
  limited.ws.disconnect();

  const once = client({ autoReconnect: false });
  once.ws.connect();
  Socket.last.greet();
  Socket.last.drop(1006, "");
  assert.deepEqual(once.told.map(([type]) => type), ["connect", "disconnect"]);
  assert.equal(clock.pending, 0);
});

test("disconnect ends everything, and what the old socket says is not heard", () => {
  const { ws, told } = connected();
  ws.subscribe("logs");
  ws.on("log_entry", (data) => told.push(["log_entry", data]));
  const old = Socket.last;
  ws.disconnect();
  assert.equal(ws.isConnected, false);
  assert.equal(old.closedWith, 1000);
  assert.deepEqual(told.at(-1), ["disconnect", { code: 1000, reason: "disconnected by the client" }]);
  const count = told.length;
  old.say("log_entry", {}, 9);
  old.fail();
  clock.pass(100_000);
  assert.deepEqual([told.length, Socket.made.length, clock.pending], [count, 1, 0]);

  ws.connect();
  Socket.last.fail();
  ws.disconnect();
  clock.pass(100_000);
  assert.equal(Socket.made.length, 2, "a wait that was due is over");
  ws.connect();
  old.fail();
  Socket.last.greet();
  assert.deepEqual(sentOf("subscribe"), [{ topic: "logs" }]);
});

test("a handler may disconnect or connect from within", () => {
  const stopping = connected();
  stopping.ws.on("disconnect", () => stopping.ws.disconnect());
  Socket.last.drop(1006, "");
  assert.deepEqual([clock.pending, stopping.of("disconnect").length], [0, 1]);

  const eager = connected();
  eager.ws.on("disconnect", () => eager.ws.connect());
  const made = Socket.made.length;
  Socket.last.drop(1006, "");
  assert.deepEqual([Socket.made.length, eager.of("reconnecting").length], [made + 1, 0]);
  eager.ws.on("connect", () => eager.ws.subscribe("logs"));
  Socket.last.greet();
  assert.deepEqual(sentOf("subscribe"), [{ topic: "logs" }]);
});

test("connect cuts a wait short", () => {
  const { ws } = connected({ reconnectInterval: 20_000 });
  Socket.last.drop(1006, "");
  ws.connect();
  assert.equal(Socket.made.length, 2);
  Socket.last.greet();
  clock.pass(20_000);
  assert.equal(Socket.made.length, 2);
});

test("the address is the page's own, with id and token", () => {
  for (const [location, options, expected] of [
    ["http://bench:8000/x/y?z=1#part", {}, "ws://bench:8000/api/ws/updates"],
    ["https://bench/", {}, "wss://bench/api/ws/updates"],
    ["https://bench/", { url: "ws://other:1/u" }, "ws://other:1/u"],
    ["http://bench/lab/", { url: "live?x=1" }, "ws://bench/lab/live?x=1"],
    [null, { url: "https://hub/api/ws/updates" }, "wss://hub/api/ws/updates"],
    [null, { url: URL_OF_HUB, clientId: "me", token: "a b&c" }, `${URL_OF_HUB}?client_id=me&token=a+b%26c`],
    [null, { url: `${URL_OF_HUB}?client_id=mine` }, `${URL_OF_HUB}?client_id=mine`],
  ]) {
    if (location) {
      const { host } = new URL(location);
      globalThis.location = { href: location, host };
    }
    new ATPWebSocket({ WebSocket: Socket, ...options }).connect();
    assert.equal(Socket.last.url, expected);
    delete globalThis.location;
  }
  const secret = new ATPWebSocket({ url: URL_OF_HUB, token: "secret", clientId: "me" });
  assert.equal(secret.url, `${URL_OF_HUB}?client_id=me`);
});

test("the id that the server gave comes back, with a token that may be a new one", () => {
  let tokens = 0;
  connected({ token: () => `t${++tokens}` });
  assert.equal(Socket.last.url, `${URL_OF_HUB}?token=t1`);
  Socket.last.drop(1006, "");
  clock.pass(1000);
  assert.equal(Socket.last.url, `${URL_OF_HUB}?client_id=c-1&token=t2`);
});

test("without an address or a class of sockets the promise says so, and nothing is tried again", async () => {
  await assert.rejects(new ATPWebSocket({ WebSocket: Socket }).connect(), /url is missing, and there is no page/);
  await assert.rejects(new ATPWebSocket({ url: "http://", WebSocket: Socket }).connect(), /url is http:\/\/, which is none/);
  const kept = globalThis.WebSocket;
  delete globalThis.WebSocket;
  await assert.rejects(new ATPWebSocket({ url: URL_OF_HUB }).connect(), /give one as the option WebSocket/);
  if (kept) globalThis.WebSocket = kept;
  assert.deepEqual([clock.pending, complaints.mock.callCount()], [0, 3]);
});

test("handlers receive data and what is known of the message", () => {
  const { ws } = connected();
  const seen = [];
  ws.on("test_progress", (data, meta) => seen.push([data, meta]));
  Socket.last.say("test_progress", { progress_percent: 50 }, 4);
  Socket.last.raw('{"type":"test_progress"}');
  assert.deepEqual(seen, [
    [{ progress_percent: 50 }, { type: "test_progress", timestamp: "2026-03-01T10:30:00.000Z", sequence: 4 }],
    [{}, { type: "test_progress", timestamp: null, sequence: null }],
  ]);
  ws.on("disconnect", (data, meta) => seen.push([data, meta]));
  ws.disconnect();
  const [data, meta] = seen.at(-1);
  assert.deepEqual([data.code, meta.type, meta.sequence], [1000, "disconnect", null]);
  assert.ok(Date.parse(meta.timestamp));
});

test("each handler is on its own: added twice, taken away, or throwing", () => {
  const { ws } = connected();
  const seen = [];
  const first = () => seen.push("first");
  const late = () => seen.push("late");
  ws.on("log_entry", () => {
    throw new Error("broken");
  });
  ws.on("log_entry", first);
  const again = ws.on("log_entry", first);
  ws.on("log_entry", () => ws.on("log_entry", late));
  let last;
  ws.on("log_entry", ({ leave }) => leave && last());
  last = ws.on("log_entry", () => seen.push("last"));
  Socket.last.say("log_entry", {});
  assert.deepEqual(seen.splice(0), ["first", "first", "last"]);
  assert.equal(complaints.mock.callCount(), 1);
  assert.match(complaints.mock.calls[0].arguments[0], /a handler of log_entry/);

  again();
  again();
  Socket.last.say("log_entry", { leave: true });
  assert.deepEqual(seen.splice(0), ["first", "late"]);
  ws.off("log_entry", first);
  ws.off("log_entry", () => {});
  ws.off("never", first);
  Socket.last.say("log_entry", {});
  assert.deepEqual(seen, ["late", "late"]);
});

test("handlers of everything hear what it is, and all handlers of a type can be taken away", () => {
  const { ws } = connected();
  const seen = [];
  ws.on("*", (type, data, meta) => seen.push([type, data.level, meta.sequence]));
  ws.on("log_entry", () => seen.push("log"));
  ws.on("log_entry", () => seen.push("log"));
  assert.equal(ws.getLastSequence(), 0);
  Socket.last.say("log_entry", { level: "info" }, 3);
  assert.deepEqual(seen.splice(0), ["log", "log", ["log_entry", "info", 3]]);
  assert.equal(ws.getLastSequence(), 3);
  ws.offAll("log_entry");
  ws.offAll("never");
  Socket.last.say("log_entry", { level: "info" }, 4);
  assert.deepEqual(seen, [["log_entry", "info", 4]]);
});

test("a gap is told before the message after it, and only numbered messages count", () => {
  const { ws, of } = connected();
  const order = [];
  ws.on("sequence_gap", () => order.push("gap"));
  ws.on("delta_update", (_, meta) => order.push(meta.sequence));
  for (const sequence of [5, 6, null, 7, 10, 11]) Socket.last.say("delta_update", {}, sequence);
  assert.deepEqual(order, [5, 6, null, 7, "gap", 10, 11]);
  assert.deepEqual(of("sequence_gap"), [{ expected: 8, received: 10 }]);

  // The count goes on across connections of the same id.
  Socket.last.drop(1006, "");
  clock.pass(1000);
  Socket.last.greet();
  Socket.last.say("test_progress", {}, 12);
  Socket.last.drop(1006, "");
  clock.pass(1000);
  Socket.last.greet();
  Socket.last.say("test_progress", {}, 15);
  assert.deepEqual(of("sequence_gap").slice(1), [{ expected: 13, received: 15 }]);
});

test("a server that counts from the beginning has lost nothing, unless it begins later", () => {
  const { ws, of } = connected();
  const restart = (id, ...sequences) => {
    Socket.last.drop(1006, "");
    clock.pass(1000);
    Socket.last.greet(id);
    for (const sequence of sequences) Socket.last.say("event", {}, sequence);
  };
  Socket.last.say("event", {}, 40);
  restart("c-1", 1, 2, 3);
  assert.deepEqual(of("sequence_gap"), []);
  restart("c-1", 3, 4);
  assert.deepEqual(of("sequence_gap").splice(0), [{ expected: 1, received: 3 }]);
  restart("another", 9, 10);
  assert.equal(of("sequence_gap").length, 1, "another id has another count");
  ws.disconnect();
});

test("what the server refuses, and what is no message, is an error that ends nothing", () => {
  const { ws, of } = connected();
  Socket.last.say("error", { error: "Missing topic in subscribe request" });
  for (const data of ["", "{", "7", "null", "[]", '{"type":7}', new Uint8Array(2)]) Socket.last.raw(data);
  const errors = of("error");
  assert.equal(errors[0].error, "Missing topic in subscribe request");
  assert.ok(errors.every(({ event, error }) => event.type === "message" && error));
  assert.deepEqual([errors.length, ws.isConnected], [8, true]);
});

test("pings go out, and a connection that says nothing is given up", () => {
  const { ws, of } = connected();
  clock.pass(25_000);
  assert.deepEqual(Socket.last.sent, [{ type: "ping", payload: {} }]);
  for (let minute = 0; minute < 5; minute += 1) {
    clock.pass(50_000);
    Socket.last.say("pong", {});
  }
  assert.equal(ws.isConnected, true);
  const silent = Socket.last;
  clock.pass(100_000);
  assert.equal(ws.isConnected, false);
  assert.deepEqual(of("disconnect"), [{ code: 1006, reason: "nothing came after 3 pings" }]);
  assert.equal(silent.closedWith, 1000);
  clock.pass(1000);
  // One that never opens, too.
  assert.equal(Socket.made.length, 2);
  clock.pass(100_000);
  assert.equal(of("disconnect").length, 2);
  ws.disconnect();

  for (const pingInterval of [0, null]) {
    const quiet = connected({ pingInterval });
    clock.pass(1_000_000);
    assert.deepEqual([Socket.last.sent, quiet.ws.isConnected], [[], true]);
  }
});

test("options and arguments that make no sense are refused by name", () => {
  for (const [options, expected] of [
    [{ reconnectInterval: -1 }, "reconnectInterval is -1: expected a number, at least 0"],
    [{ reconnectInterval: null }, "reconnectInterval is null: expected a number, at least 0"],
    [{ maxReconnectInterval: "1s" }, "maxReconnectInterval is 1s: expected a number, at least 0"],
    [{ reconnectDecay: 0.5 }, "reconnectDecay is 0.5: expected a number, at least 1"],
    [{ maxReconnectAttempts: NaN }, "maxReconnectAttempts is NaN: expected a number, at least 0"],
    [{ pingInterval: -5 }, "pingInterval is -5: expected a number, at least 0"],
  ]) {
    assert.throws(() => new ATPWebSocket(options), { name: "TypeError", message: expected });
  }
  const ws = new ATPWebSocket({ reconnectInterval: undefined });
  for (const topic of ["", "  ", 7, undefined]) assert.throws(() => ws.subscribe(topic), /^TypeError: topic is/);
  for (const filter of ["x", 7, [1]]) assert.throws(() => ws.subscribe("logs", filter), /^TypeError: filter of logs/);
  assert.throws(() => ws.on("pong"), /handler of pong is undefined, not a function/);
});

test("the hook's functions stay the same, and the documented component does not loop", () => {
  const seen = [];
  const handles = [];
  const component = new Component((React) => {
    const handle = useATPWebSocket({ React, url: URL_OF_HUB, WebSocket: Socket });
    handles.push(handle);
    const { isConnected, subscribe, on } = handle;
    const [progress, setProgress] = React.useState(0);
    React.useEffect(() => {
      const cleanup = on("test_progress", (data) => {
        if (data.suite_execution_id === 123) setProgress(data.progress_percent);
      });
      subscribe("test:progress", { suite_execution_id: 123 });
      return cleanup;
    }, [123, on, subscribe]);
    seen.push([isConnected, progress]);
    return [isConnected, progress];
  });
  component.settle();
  assert.equal(Socket.made.length, 1);
  Socket.last.greet();
  assert.deepEqual(component.settle(), [true, 0]);
  Socket.last.say("test_progress", { suite_execution_id: 123, progress_percent: 40 }, 1);
  Socket.last.say("test_progress", { suite_execution_id: 7, progress_percent: 90 }, 2);
  assert.deepEqual(component.settle(), [true, 40]);
  assert.equal(component.renderings, 3);
  assert.deepEqual(sentOf("subscribe"), [{ topic: "test:progress", filter: { suite_execution_id: 123 } }]);
  for (const name of ["ws", "connect", "disconnect", "subscribe", "unsubscribe", "on", "off"]) {
    assert.ok(handles.every((handle) => handle[name] === handles[0][name]), name);
  }
  Socket.last.drop(1006, "");
  assert.deepEqual(component.settle(), [false, 40]);
  clock.pass(1000);
  const retried = Socket.last;
  component.unmount();
  clock.pass(100_000);
  assert.deepEqual([Socket.made.length, retried.closedWith, clock.pending], [2, 1000, 0]);
});

test("the hook takes React from the page, and says when there is none", () => {
  assert.throws(() => useATPWebSocket(), /there is no React here/);
  const component = new Component((React) => {
    globalThis.React = React;
    return useATPWebSocket({ url: URL_OF_HUB, WebSocket: Socket }).isConnected;
  });
  assert.equal(component.settle(), false);
  Socket.last.greet();
  assert.equal(component.settle(), true);
  component.unmount();
  delete globalThis.React;
});
