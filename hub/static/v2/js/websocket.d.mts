export * from "./websocket.js";
