"use strict";

const byId = (id) => document.getElementById(id);

// The clock. EventSource connects again by itself after a release.
const events = new EventSource("events");
events.onmessage = (event) => {
  byId("clock").textContent = new Date(event.data).toLocaleTimeString("en-GB");
  byId("clock").classList.remove("lost");
};
events.onerror = () => byId("clock").classList.add("lost");
events.onopen = showFacts; // at the start, and after each release

// The echo. A WebSocket does not, so we open it when there is something to say.
let socket;
function open() {
  if (socket && socket.readyState <= WebSocket.OPEN) return socket;
  const url = new URL("ws", location.href);
  url.protocol = url.protocol.replace("http", "ws");
  socket = new WebSocket(url);
  socket.onmessage = (event) => {
    const item = document.createElement("li");
    item.textContent = event.data;
    byId("answers").prepend(item);
  };
  return socket;
}
byId("echo").addEventListener("submit", (event) => {
  event.preventDefault();
  const input = event.target.elements.text;
  const text = input.value;
  const to = open();
  if (to.readyState === WebSocket.OPEN) to.send(text);
  else to.addEventListener("open", () => to.send(text));
  input.value = "";
});

async function showFacts() {
  const get = async (path) => {
    const answer = await fetch(path, { cache: "no-store" });
    return answer.ok ? answer.json() : {};
  };
  const [version, build] = await Promise.all([get("version"), get("build.json")]);
  const facts = { ...version, build: build.sources || "not built" };
  byId("facts").replaceChildren(
    ...Object.entries(facts).flatMap(([name, value]) => {
      const term = document.createElement("dt");
      const text = document.createElement("dd");
      term.textContent = name;
      text.textContent = value;
      return [term, text];
    }),
  );
}
