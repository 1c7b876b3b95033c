// Socket.IO: the token is checked on connect, rooms by user and role, missed events on request.
import { once } from 'node:events';
import { Server } from 'socket.io';
import { readToken } from './accounts.mjs';

const PAGE = 500;

/** Serves sockets at `server`. `log` reads the durable events: `head()` and `after(seq, user, limit)`. */
export function serveSockets(server, log, jwtSecret) {
  const io = new Server(server, { serveClient: false });
  // From Socket.IO's page on memory: the first request is not needed any more.
  io.engine.on('connection', (raw) => {
    raw.request = null;
  });
  io.use((socket, next) => {
    try {
      socket.data.user = readToken(socket.handshake.auth.token, jwtSecret);
      next();
    } catch {
      next(new Error('token_invalid'));
    }
  });
  io.on('connection', (socket) => attend(socket, log).catch(() => socket.disconnect(true)));
  return io;
}

async function attend(socket, log) {
  const { user } = socket.data;
  const { since } = socket.handshake.auth;
  const seq = since ?? (await log.head());
  socket.emit('connected', { userId: user.sub, email: user.email, role: user.role, seq });
  const reached = since === undefined ? undefined : await replay(socket, log, seq);
  socket.join([`user:${user.sub}`, `role:${user.role}`]);
  // What came between the last page and the rooms; the client drops what it has by its `seq`.
  if (reached !== undefined) await replay(socket, log, reached);
}

/** Sends what was missed, page by page, as fast as the client takes it. */
async function replay(socket, log, since) {
  let seq = since;
  for (;;) {
    const events = await log.after(seq, socket.data.user, PAGE);
    for (const event of events) {
      socket.emit(event.name, JSON.parse(event.payload), { seq: event.seq, id: event.id, at: event.at });
      seq = event.seq;
    }
    if (events.length < PAGE || !socket.connected) return seq;
    await once(socket.conn, 'drain');
  }
}

/** Tells the owner and the admins, after the commit. */
export function broadcast(io, events) {
  for (const { name, record, userId, seq, id, at } of events) {
    const admins = io.to('role:admin');
    (userId ? admins.to(`user:${userId}`) : admins).emit(name, record, { seq, id, at });
  }
}
