// The line protocol's writing half: one JSON object a line on stdout.
import { write } from "node:fs";

let waiting = [];
let writing = false;
let whenDrained = [];

// Writes off the event loop and in order: a slow reader neither stalls the clients' heartbeats nor
// loses a line.
function flush() {
  if (writing) return;
  if (waiting.length === 0) {
    for (const resolve of whenDrained.splice(0)) resolve();
    return;
  }
  writing = true;
  writeAll(Buffer.from(waiting.splice(0).join("")), 0);
}

function writeAll(bytes, from) {
  write(1, bytes, from, bytes.length - from, null, (error, written) => {
    if (error?.code === "EAGAIN") return setTimeout(writeAll, 5, bytes, from);
    if (error) process.exit(1); // Nobody reads any more.
    if (from + written < bytes.length) return writeAll(bytes, from + written);
    writing = false;
    flush();
  });
}

/** Writes one line. */
export function print(line) {
  waiting.push(JSON.stringify(line) + "\n");
  flush();
}

/** Ends the process once every line is written. */
export async function exit(code) {
  await new Promise((resolve) => {
    whenDrained.push(resolve);
    flush();
  });
  process.exit(code);
}
