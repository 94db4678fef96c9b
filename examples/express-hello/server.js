// One process, one port. Everything that differs between deploys is in the
// environment, logs go to stdout, and a SIGTERM ends it within a moment.

"use strict";

const http = require("node:http");
const path = require("node:path");
const express = require("express");
const { WebSocketServer } = require("ws");

const PORT = Number(process.env.PORT || 3000);
const HOST = process.env.HOST || "127.0.0.1";
const PATIENCE = 10_000; // how long a stop waits for requests, in ms

const app = express();
app.disable("x-powered-by");
app.use(express.static(path.join(__dirname, "public")));

app.get("/version", (request, response) => {
  response.set("Cache-Control", "no-store").json({
    release: process.env.DOZEN_RELEASE || "local",
    commit: process.env.DOZEN_COMMIT || "unknown",
    process: process.env.DOZEN_PROCESS || "local",
    node: process.version,
    pid: process.pid,
  });
});

// Server-sent events: a tick a second, for as long as the client listens.
const listeners = new Set();
app.get("/events", (request, response) => {
  response.set({
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",
  });
  response.flushHeaders();
  let tick = 0;
  const send = () => {
    tick += 1;
    response.write(`id: ${tick}\ndata: ${new Date().toISOString()}\n\n`);
  };
  send();
  const timer = setInterval(send, 1000);
  listeners.add(response);
  response.on("close", () => {
    clearInterval(timer);
    listeners.delete(response);
  });
});

const server = http.createServer(app);

// A WebSocket that says back what it hears.
const sockets = new WebSocketServer({ server, path: "/ws", maxPayload: 64 * 1024 });
sockets.on("connection", (socket) => {
  socket.on("message", (data, isBinary) => socket.send(data, { binary: isBinary }));
  socket.on("error", (error) => console.log(`socket: ${error.message}`));
});

server.listen(PORT, HOST, () => {
  console.log(`listening on ${HOST}:${server.address().port}`);
});

// New connections are refused, requests under way are answered, streams and
// sockets are closed: their clients connect again, to the next release.
function stop(signal) {
  console.log(`${signal}: stopping`);
  server.close(() => {
    console.log("stopped");
    process.exit(0);
  });
  for (const response of listeners) response.end();
  for (const socket of sockets.clients) socket.close(1001, "the server stops");
  sockets.close();
  server.closeIdleConnections();
  setTimeout(() => process.exit(1), PATIENCE).unref();
}

for (const signal of ["SIGTERM", "SIGINT"]) process.once(signal, stop);
