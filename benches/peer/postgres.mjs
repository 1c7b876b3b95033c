// The service on express and pg: a pool of connections, statements prepared once on each.
import { createServer } from 'node:http';
import express from 'express';
import pg from 'pg';
import { v7 as uuid } from 'uuid';
import { adminIn, hashPassword, isPassword, signToken } from './accounts.mjs';
import { cancellationIn, dedupeKey, hostsIn, isSigned, meetingIn, personIn } from './calendly.mjs';
import { POSTGRES, schema } from './schema.mjs';
import { broadcast, serveSockets } from './sockets.mjs';
import { proposalView, prospectView } from './views.mjs';

const BIGINT = 20;
// As many as Bookbell's requests and jobs share; its writer has three more, its listener one.
const CONNECTIONS = 16;

// Positions and milliseconds fit a number.
pg.types.setTypeParser(BIGINT, Number);

export async function start({ databaseUrl, host, port, signingKey, jwtSecret, admin }) {
  const url = new URL(databaseUrl);
  // pg would insist on TLS, where `prefer` means to do without it if need be.
  if (url.searchParams.get('sslmode') === 'prefer') url.searchParams.delete('sslmode');
  const pool = new pg.Pool({ connectionString: url.href, max: CONNECTIONS });
  await pool.query(schema(POSTGRES));
  const users = await pool.query('SELECT 1 FROM app_user');
  if (users.rowCount === 0) await addUser(pool, { ...admin, name: 'Admin', role: 'admin' });
  const app = express();
  const server = createServer(app);
  const io = serveSockets(server, eventLog(pool), jwtSecret);

  app.post('/api/auth/login', express.json(), async ({ body }, response) => {
    const { rows } = await pool.query('SELECT * FROM app_user WHERE email = $1', [body.email]);
    if (!rows[0] || !(await isPassword(body.password, rows[0].password_hash))) return response.sendStatus(401);
    response.json({ token: signToken(rows[0], jwtSecret) });
  });
  app.post('/api/users', express.json(), async (request, response) => {
    adminIn(request.headers.authorization, jwtSecret);
    response.status(201).json({ id: await addUser(pool, request.body) });
  });
  // The signature is over the raw bytes, so they are kept as they came.
  const raw = express.raw({ type: 'application/json', limit: '1mb' });
  app.post('/webhooks/calendly', raw, async (request, response) => {
    const signature = request.headers['calendly-webhook-signature'];
    if (!isSigned(signature, request.body, signingKey)) {
      return response.status(401).json({ code: 'signature_mismatch' });
    }
    const { events, ...answer } = await receive(pool, JSON.parse(request.body), request.body, signature);
    broadcast(io, events);
    response.json(answer);
  });

  await new Promise((done) => server.listen(port, host, done));
  const stop = async () => {
    io.disconnectSockets(true);
    server.close();
    server.closeAllConnections();
    await pool.end();
  };
  return { address: server.address(), stop };
}

async function addUser(pool, { email, name, role, calendlyUserUri, password }) {
  const id = uuid();
  const values = [id, email, name, role, calendlyUserUri ?? null, await hashPassword(password)];
  await pool.query('INSERT INTO app_user VALUES ($1, $2, $3, $4, $5, $6)', values);
  return id;
}

function eventLog(pool) {
  const columns = 'SELECT seq, id, at_ms, name, payload FROM event';
  return {
    async head() {
      return (await pool.query('SELECT COALESCE(MAX(seq), 0) AS head FROM event')).rows[0].head;
    },
    async after(seq, { role, sub }, limit) {
      const { rows } = await (role === 'admin'
        ? pool.query(`${columns} WHERE seq > $1 ORDER BY seq LIMIT $2`, [seq, limit])
        : pool.query(`${columns} WHERE user_id = $1 AND seq > $2 ORDER BY seq LIMIT $3`, [sub, seq, limit]));
      return rows.map(({ at_ms, ...row }) => ({ ...row, at: new Date(at_ms).toISOString() }));
    },
  };
}

const ARCHIVE = `INSERT INTO delivery (id, dedupe_key, event, status, received_ms, signature, body)
  VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (dedupe_key) DO NOTHING`;
const OWNERS = 'SELECT id, email, calendly_user_uri AS uri FROM app_user WHERE calendly_user_uri = ANY($1) OR email = ANY($2)';
const UPSERT_PROSPECT = `
  INSERT INTO prospect AS p (id, owner_id, email, email_key, firstname, lastname, phone, company, status, source,
    timezone, tracking, created_ms, updated_ms, last_booking_ms)
  VALUES ($1, $2, $3, LOWER($3), $4, $5, $6, $7, 'new', 'calendly', $8, $9, $10, $10, $10)
  ON CONFLICT (COALESCE(owner_id, ''), email_key) DO UPDATE SET
    firstname = COALESCE(excluded.firstname, p.firstname), lastname = COALESCE(excluded.lastname, p.lastname),
    phone = COALESCE(excluded.phone, p.phone), company = COALESCE(excluded.company, p.company),
    timezone = COALESCE(excluded.timezone, p.timezone), updated_ms = excluded.updated_ms,
    last_booking_ms = excluded.last_booking_ms
  RETURNING *`;
const INSERT_PROPOSAL = `
  INSERT INTO proposal (id, invitee_uri, prospect_id, owner_id, status, title, start_ms, end_ms, timezone, location,
    hosts, guests, answers, tracking, cancel_url, reschedule_url, created_ms, updated_ms)
  VALUES ($1, $2, $3, $4, 'pending', $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $16)
  RETURNING *`;
const MOVE_PROPOSAL = `
  UPDATE proposal SET invitee_uri = $1, status = 'pending', cancellation = NULL, start_ms = $2, end_ms = $3,
    location = $4, cancel_url = $5, reschedule_url = $6, updated_ms = $7
  WHERE invitee_uri = $8 RETURNING *`;
const SET_STATUS = `
  UPDATE proposal SET status = $1, cancellation = $2, updated_ms = $3 WHERE invitee_uri = $4 RETURNING *`;
const APPEND_EVENTS = `
  INSERT INTO event (id, at_ms, name, payload, user_id)
  SELECT id, $1, name, payload, user_id
  FROM UNNEST($2::text[], $3::text[], $4::text[], $5::text[]) AS e (id, name, payload, user_id)
  RETURNING seq`;

/** Takes a webhook in: one transaction for the archive, the records and the events. */
async function receive(pool, webhook, body, signature) {
  const client = await pool.connect();
  // Named, so that each connection prepares it once.
  const run = (name, text, values) => client.query({ name, text, values });
  try {
    await client.query('BEGIN');
    const now = Date.now();
    const deliveryId = uuid();
    const key = dedupeKey(webhook);
    const handler = HANDLERS[webhook.event];
    const status = handler ? 'processed' : 'ignored';
    const archived = [deliveryId, key, webhook.event, status, now, signature, body];
    if ((await run('archive', ARCHIVE, archived)).rowCount === 0) {
      await client.query('ROLLBACK');
      const { rows } = await client.query('SELECT id FROM delivery WHERE dedupe_key = $1', [key]);
      return { status: 'duplicate', deliveryId: rows[0].id, events: [] };
    }
    const records = (await handler?.(run, webhook.payload, now)) ?? [];
    const events = await append(run, records, now);
    await client.query('COMMIT');
    return { status, deliveryId, events };
  } catch (error) {
    await client.query('ROLLBACK');
    throw error;
  } finally {
    client.release();
  }
}

const HANDLERS = {
  'invitee.created': book,
  // The other half of a reschedule moves the proposal.
  'invitee.canceled': (run, payload, now) => (payload.rescheduled ? [] : changeStatus(run, 'canceled', payload, now)),
  'invitee_no_show.created': (run, payload, now) => changeStatus(run, 'no_show', payload, now),
  'invitee_no_show.deleted': (run, payload, now) => changeStatus(run, 'pending', payload, now),
};

async function book(run, payload, now) {
  const hosts = hostsIn(payload);
  const { rows: users } = await run('owners', OWNERS, [hosts.map((host) => host.uri), hosts.map((host) => host.email)]);
  for (const host of hosts) host.userId = users.find(({ uri, email }) => uri === host.uri || email === host.email)?.id ?? null;
  // By Calendly's URI, else by e-mail.
  const byUri = hosts.find((host) => users.some(({ uri }) => uri === host.uri));
  const ownerId = (byUri ?? hosts.find((host) => host.userId))?.userId ?? null;
  const { email, firstname, lastname, phone, company, timezone, tracking } = personIn(payload);
  const trackingText = JSON.stringify(tracking);
  const newId = uuid();
  const person = [newId, ownerId, email, firstname, lastname, phone, company, timezone, trackingText, now];
  const prospect = (await run('upsert_prospect', UPSERT_PROSPECT, person)).rows[0];

  const meeting = meetingIn(payload);
  const location = JSON.stringify(meeting.location);
  const { startMs, endMs, cancelUrl, rescheduleUrl } = meeting;
  const move = [payload.uri, startMs, endMs, location, cancelUrl, rescheduleUrl, now, payload.old_invitee];
  const moved = payload.old_invitee && (await run('move_proposal', MOVE_PROPOSAL, move)).rows[0];
  const insert = [
    uuid(), payload.uri, prospect.id, ownerId, meeting.title, startMs, endMs, meeting.timezone, location,
    JSON.stringify(hosts), JSON.stringify(meeting.guests), JSON.stringify(meeting.answers), trackingText,
    cancelUrl, rescheduleUrl, now,
  ];
  const row = moved || (await run('insert_proposal', INSERT_PROPOSAL, insert)).rows[0];
  return [
    [prospect.id === newId ? 'prospect:created' : 'prospect:updated', prospectView(prospect)],
    [moved ? 'proposal-updated' : 'proposal-created', proposalView(row)],
  ];
}

async function changeStatus(run, status, payload, now) {
  const cancellation = status === 'canceled' ? JSON.stringify(cancellationIn(payload)) : null;
  const { rows } = await run('set_status', SET_STATUS, [status, cancellation, now, payload.uri]);
  return rows[0] ? [['proposal-status-changed', proposalView(rows[0])]] : [];
}

async function append(run, records, now) {
  if (records.length === 0) return [];
  const at = new Date(now).toISOString();
  const events = records.map(([name, record]) => ({ name, record, userId: record.ownerId, id: uuid(), at }));
  const column = (read) => events.map(read);
  const values = [
    now, column(({ id }) => id), column(({ name }) => name), column(({ record }) => JSON.stringify(record)),
    column(({ userId }) => userId),
  ];
  const { rows } = await run('append_events', APPEND_EVENTS, values);
  return events.map((event, nth) => ({ ...event, seq: rows[nth].seq }));
}
