"use strict";

const assert = require("node:assert/strict");
const { spawn } = require("node:child_process");
const { once } = require("node:events");
const { test } = require("node:test");
const { WebSocket } = require("ws");

async function start() {
  const env = { ...process.env, PORT: "0", HOST: "127.0.0.1", DOZEN_RELEASE: "v3" };
  const child = spawn(process.execPath, ["server.js"], { cwd: __dirname, env });
  const [line] = await once(child.stdout, "data");
  return { child, host: /listening on (\S+)/.exec(line)[1] };
}

async function stop(child) {
  child.kill("SIGTERM");
  const [code] = await once(child, "exit");
  return code;
}

test("the page and the version", async (t) => {
  const { child, host } = await start();
  t.after(() => child.kill("SIGKILL"));
  const page = await fetch(`http://${host}/`);
  assert.match(await page.text(), /<h1>/);
  const version = await (await fetch(`http://${host}/version`)).json();
  assert.equal(version.release, "v3");
  assert.equal(version.pid, child.pid);
  assert.equal((await fetch(`http://${host}/env`)).status, 404);
  assert.equal(await stop(child), 0);
});

test("a stop ends event streams and sockets, and leaves with 0", async (t) => {
  const { child, host } = await start();
  t.after(() => child.kill("SIGKILL"));

  const events = await fetch(`http://${host}/events`);
  assert.match(events.headers.get("content-type"), /^text\/event-stream/);
  const stream = events.body.getReader();
  const { value } = await stream.read();
  assert.match(Buffer.from(value).toString(), /^id: 1\ndata: 20/);

  const socket = new WebSocket(`ws://${host}/ws`);
  await once(socket, "open");
  socket.send("hello");
  const [echo] = await once(socket, "message");
  assert.equal(echo.toString(), "hello");

  const closed = once(socket, "close");
  const began = Date.now();
  assert.equal(await stop(child), 0);
  assert.ok(Date.now() - began < 2000);
  assert.equal((await closed)[0], 1001);
  let last = await stream.read();
  while (!last.done) last = await stream.read();
});
