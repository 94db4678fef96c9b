// The build step: writes public/build.json, with a digest of the sources. Equal
// sources give an equal file, so a build can be told from another by it.

"use strict";

const { createHash } = require("node:crypto");
const { readFileSync, writeFileSync } = require("node:fs");
const path = require("node:path");

const SOURCES = [
  "package-lock.json",
  "server.js",
  "public/index.html",
  "public/page.css",
  "public/page.js",
];

const hash = createHash("sha256");
for (const name of SOURCES) {
  const text = readFileSync(path.join(__dirname, name));
  hash.update(`${name} ${text.length}\n`).update(text);
}
const build = { sources: hash.digest("hex").slice(0, 16), files: SOURCES.length };
writeFileSync(
  path.join(__dirname, "public/build.json"),
  `${JSON.stringify(build)}\n`,
);
console.log(`build ${build.sources} of ${build.files} files`);
