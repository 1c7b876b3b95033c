// Any number of official socket.io clients in one process, driven by JSON lines: tests/README.md.
import http from "node:http";
import { createInterface } from "node:readline";
import { io } from "socket.io-client";
import { exit, print } from "./lines.mjs";

const clients = new Map();

const commands = {
  connect(command) {
    const known = clients.get(command.id);
    if (known && !command.url) return known.socket.connect();
    known?.socket.disconnect();
    clients.set(command.id, connect(command));
  },

  disconnect({ id }) {
    client(id).socket.disconnect();
  },

  // Cuts the TCP connections, as a dead network does: the server is told nothing, and the stock
  // client finds out by itself.
  drop({ id }) {
    const { socket, agent } = client(id);
    const transport = socket.io.engine.transport;
    transport.doClose = () => {}; // No close packet on a new connection.
    transport.ws?.terminate();
    agent.cut();
  },

  // Stops and goes on reading from a WebSocket, while the connection stays open.
  pause({ id }) {
    webSocket(id).pause();
  },

  unpause({ id }) {
    webSocket(id).resume();
  },

  emit({ id, event, args = [], ack }) {
    const { socket } = client(id);
    if (ack === undefined) return socket.emit(event, ...args);
    socket.emit(event, ...args, (...answer) => print({ id, type: "ack", ack, args: answer }));
  },

  exit: leave,
};

// Opens the connections of one client, so that they can be cut. Kept-alive ones would hide a cut:
// the client's XMLHttpRequest sends a request again when a reused connection breaks.
class Line extends http.Agent {
  #down = false;
  #held;

  // Between two polls there may be no connection to cut: then the next one breaks.
  cut() {
    this.#down = true;
    this.destroy();
  }

  mend() {
    this.#down = false;
  }

  // Keeps the client from going over to a WebSocket until `release`.
  hold() {
    this.#held = [];
  }

  release() {
    for (const open of this.#held?.splice(0) ?? []) open();
    this.#held = undefined;
  }

  createConnection(options, opened) {
    if (!this.#held || !options.headers?.Upgrade) return this.#open(options);
    this.#held.push(() => opened(null, this.#open(options)));
  }

  #open(options) {
    const connection = super.createConnection(options);
    if (this.#down) setImmediate(() => connection.destroy(new Error("cut")));
    return connection;
  }
}

function client(id) {
  const found = clients.get(id);
  if (!found) throw new Error(`no client ${JSON.stringify(id)}`);
  return found;
}

function webSocket(id) {
  const ws = client(id).socket.io.engine.transport.ws;
  if (!ws) throw new Error(`client ${JSON.stringify(id)} is not on a WebSocket`);
  return ws;
}

function connect({ id, url, path, transports, auth = {}, extraHeaders, reconnection = true, resume = false, upgradeAfter = 0 }) {
  const agent = new Line({ keepAlive: false });
  let events = 0;
  if (upgradeAfter > 0) agent.hold();
  let position;
  const socket = io(url, {
    autoConnect: false,
    forceNew: true,
    agent,
    path,
    transports,
    extraHeaders,
    reconnection,
    reconnectionDelay: 50,
    reconnectionDelayMax: 200,
    auth: resume ? (answer) => answer(position === undefined ? auth : { ...auth, since: position }) : auth,
  });
  const say = (type, fields) => print({ id, type, ...fields });

  socket.on("connect", () => say("connect", { socketId: socket.id, transport: socket.io.engine.transport.name }));
  socket.on("connect_error", (error) => say("connect_error", { message: error.message, willRetry: socket.active && reconnection }));
  socket.on("disconnect", (reason) => say("disconnect", { reason }));
  socket.onAny((name, payload, meta, ...rest) => {
    position = seqOf(name, payload, meta) ?? position;
    if (++events === upgradeAfter) agent.release();
    say("event", { name, payload, meta, ...(rest.length > 0 && { rest }) });
  });
  for (const noticed of ["close", "error"]) socket.io.on(noticed, () => agent.mend());
  socket.io.on("reconnect", (attempt) => say("reconnect", { attempt }));
  socket.io.on("open", () => {
    socket.io.engine.on("upgrade", (transport) => say("upgrade", { transport: transport.name }));
  });
  socket.connect();
  return { socket, agent };
}

// Where the log goes on after this event: a durable event carries its `seq` in `meta`, and
// `connected` and `resync` say from where the events follow.
function seqOf(name, payload, meta) {
  return name === "connected" || name === "resync" ? payload?.seq : meta?.seq;
}

function leave() {
  for (const { socket } of clients.values()) socket.disconnect();
  return exit(0);
}

function obey(line) {
  try {
    const command = JSON.parse(line);
    if (!Object.hasOwn(commands, command.cmd)) throw new Error(`no command ${JSON.stringify(command.cmd)}`);
    commands[command.cmd](command);
  } catch (error) {
    print({ type: "error", message: error.message, line });
  }
}

process.on("uncaughtException", (error) => {
  print({ type: "error", message: error.stack });
  exit(1);
});

createInterface({ input: process.stdin }).on("line", obey).on("close", leave);
print({ type: "ready" });
