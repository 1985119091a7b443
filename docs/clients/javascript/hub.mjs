// What the clients beside this file have in common, in Node and in browsers: where the hub is, and how it is asked.

const inNode = typeof process !== "undefined";
const page = inNode ? null : new URL(location.href).searchParams;

export const HUB = (inNode ? process.env.RIGWIRE_URL : page.get("hub")) ?? "http://127.0.0.1:8000";
export const TOKEN = inNode ? process.env.RIGWIRE_TOKEN : page.get("token");

/** GET, or POST when there is a body. */
export async function ask(path, body) {
  const headers = TOKEN ? { authorization: `Bearer ${TOKEN}` } : {};
  if (body) headers["content-type"] = "application/json";
  const response = await fetch(HUB + path, { headers, method: body ? "POST" : "GET", body: body && JSON.stringify(body) });
  const answer = await response.json();
  if (!response.ok) throw new Error(`${path}: ${response.status} ${answer.detail}`);
  return answer;
}

export function socketUrl(path) {
  return HUB.replace(/^http/, "ws") + path + (TOKEN ? `?token=${TOKEN}` : "");
}

/** Messages as they come. `take` answers with `undefined` to go on, and with anything else to end with that. */
export function messages(socket, take) {
  return new Promise((resolve, reject) => {
    socket.onmessage = async ({ data }) => {
      try {
        const end = await take(JSON.parse(data));
        if (end !== undefined) resolve(end);
      } catch (error) {
        reject(error);
      }
    };
    socket.onerror = () => reject(new Error(`${HUB}: cannot connect`));
    socket.onclose = ({ code, reason }) => reject(Object.assign(new Error(`closed: ${code} ${reason}`), { code }));
  }).finally(() => socket.close());
}

/** In Node: runs with the first argument as the procedure and ends with 0 if it completed. A page calls `watch` itself. */
export async function endWith(watch) {
  if (!inNode) return;
  process.exitCode = await watch(process.argv[2] ?? "demo-ramp", console.log).then(
    (completed) => (completed ? 0 : 1),
    (error) => {
      console.error(error.message);
      return 1;
    },
  );
}
