// Opens pages in a running Chromium as if the hub served them, and prints for each what it found: JSON, one object per line.
// Arguments: Chromium's debugger, the hub, then files. /pages/NAME comes from the folder of the first file, all else from the hub.
// A page sets `finished` to a promise of what it found. An address in the place of a file is a page that somebody else serves: it is
// over when its element `end` has a text, and what it found are its lines.
//
// Each is written into a document that the hub has really served: a browser lets a page that came from this machine connect to
// this machine, and one that came from nowhere not.

import { readFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";

const PATIENCE = 40_000;
const TYPES = { html: "text/html", mjs: "text/javascript", js: "text/javascript" };

const [debuggerUrl, hub, ...files] = process.argv.slice(2);
const browser = new WebSocket(debuggerUrl);
const waiting = new Map();
const listeners = new Set();
browser.onmessage = ({ data }) => {
  const message = JSON.parse(data);
  if (message.id === undefined) {
    for (const listener of listeners) listener(message);
    return;
  }
  const { resolve, reject } = waiting.get(message.id);
  waiting.delete(message.id);
  if (message.error) reject(new Error(message.error.message));
  else resolve(message.result);
};
await new Promise((resolve, reject) => Object.assign(browser, { onopen: resolve, onerror: reject }));

let calls = 0;
function call(method, params = {}, sessionId = undefined) {
  const id = ++calls;
  browser.send(JSON.stringify({ id, method, params, sessionId }));
  return new Promise((resolve, reject) => waiting.set(id, { resolve, reject }));
}

async function serve({ requestId, request }, session) {
  const name = basename(new URL(request.url).pathname);
  const body = await readFile(join(dirname(files[0]), name)).catch(() => null);
  const type = TYPES[name.split(".").at(-1)] ?? "text/plain";
  const answer = body
    ? { responseCode: 200, body: body.toString("base64"), responseHeaders: [{ name: "content-type", value: type }] }
    : { responseCode: 404 };
  await call("Fetch.fulfillRequest", { requestId, ...answer }, session);
}

const LINES = `new Promise((resolve) => {
  const end = document.getElementById("end");
  const look = () => end.textContent && resolve(document.body.innerText.split("\\n"));
  new MutationObserver(look).observe(end, { childList: true });
  look();
})`;

const written = (html) => `document.open(); document.write(${JSON.stringify(html)}); document.close();
  new Promise((loaded) => addEventListener("load", loaded)).then(() => finished)`;

async function open(file) {
  const { targetId } = await call("Target.createTarget", { url: "about:blank" });
  const { sessionId } = await call("Target.attachToTarget", { targetId, flatten: true });
  const complaints = [];
  let loaded;
  const isLoaded = new Promise((resolve) => (loaded = resolve));
  const listener = ({ method, params, sessionId: of }) => {
    if (of !== sessionId) return;
    if (method === "Fetch.requestPaused") serve(params, sessionId);
    if (method === "Page.loadEventFired") loaded();
    if (method === "Runtime.exceptionThrown") complaints.push(params.exceptionDetails.exception?.description ?? params.exceptionDetails.text);
    if (method === "Runtime.consoleAPICalled" && params.type === "error") complaints.push(params.args.map((one) => one.value ?? one.description).join(" "));
  };
  listeners.add(listener);
  for (const domain of ["Page", "Runtime"]) await call(`${domain}.enable`, {}, sessionId);
  await call("Fetch.enable", { patterns: [{ urlPattern: `${hub}/pages/*` }] }, sessionId);
  const isElsewhere = file.startsWith("http:");
  await call("Page.navigate", { url: isElsewhere ? file : `${hub}/healthz` }, sessionId);
  await isLoaded;
  const expression = isElsewhere ? LINES : written(await readFile(file, "utf8"));
  const asked = { expression, awaitPromise: true, returnByValue: true };
  const { result, exceptionDetails } = await call("Runtime.evaluate", asked, sessionId);
  await call("Target.closeTarget", { targetId });
  listeners.delete(listener);
  if (exceptionDetails) complaints.push(exceptionDetails.exception?.description ?? exceptionDetails.text);
  console.log(JSON.stringify({ page: basename(file), found: result.value ?? null, complaints }));
}

const late = setTimeout(() => {
  console.error(`no answer within ${PATIENCE} ms`);
  process.exit(1);
}, PATIENCE);
for (const file of files) await open(file);
clearTimeout(late);
browser.close();
