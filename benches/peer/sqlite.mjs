// The service on fastify and better-sqlite3: one process, one file, statements prepared once.
import Database from 'better-sqlite3';
import fastify from 'fastify';
import { v7 as uuid } from 'uuid';
import { adminIn, hashPassword, isPassword, signToken } from './accounts.mjs';
import { cancellationIn, dedupeKey, hostsIn, isSigned, meetingIn, personIn } from './calendly.mjs';
import { SQLITE, schema } from './schema.mjs';
import { broadcast, serveSockets } from './sockets.mjs';
import { proposalView, prospectView } from './views.mjs';

export async function start({ databaseUrl, host, port, signingKey, jwtSecret, admin }) {
  const db = open(databaseUrl.replace(/^sqlite:\/\//, ''));
  const users = userTable(db);
  if (!users.any()) await users.add({ ...admin, name: 'Admin', role: 'admin' });
  const receive = receiver(db, users);
  const app = fastify({ bodyLimit: 1 << 20, forceCloseConnections: true });
  const io = serveSockets(app.server, eventLog(db), jwtSecret);

  app.post('/api/auth/login', async (request, reply) => {
    const user = users.byEmail(request.body.email);
    if (!user || !(await isPassword(request.body.password, user.password_hash))) return reply.code(401).send();
    return { token: signToken(user, jwtSecret) };
  });
  app.post('/api/users', async (request, reply) => {
    adminIn(request.headers.authorization, jwtSecret);
    return reply.code(201).send({ id: await users.add(request.body) });
  });
  app.register(async (webhooks) => {
    // The signature is over the raw bytes, so they are kept as they came.
    webhooks.removeContentTypeParser('application/json');
    webhooks.addContentTypeParser('application/json', { parseAs: 'buffer' }, (_, body, done) => done(null, body));
    webhooks.post('/webhooks/calendly', (request, reply) => {
      const signature = request.headers['calendly-webhook-signature'];
      if (!isSigned(signature, request.body, signingKey)) return reply.code(401).send({ code: 'signature_mismatch' });
      const { events, ...answer } = receive(JSON.parse(request.body), request.body, signature);
      broadcast(io, events);
      return reply.send(answer);
    });
  });

  await app.listen({ host, port });
  const stop = async () => {
    io.disconnectSockets(true);
    await app.close();
    db.close();
  };
  return { address: app.server.address(), stop };
}

function open(file) {
  const db = new Database(file);
  db.pragma('journal_mode = WAL');
  // What is answered 200 must outlive a power cut.
  db.pragma('synchronous = FULL');
  db.pragma('foreign_keys = ON');
  db.exec(schema(SQLITE));
  return db;
}

function userTable(db) {
  const any = db.prepare('SELECT 1 FROM app_user').pluck();
  const byEmail = db.prepare('SELECT * FROM app_user WHERE email = ?');
  const idByUri = db.prepare('SELECT id FROM app_user WHERE calendly_user_uri = ?').pluck();
  const idByEmail = db.prepare('SELECT id FROM app_user WHERE email = ?').pluck();
  const insert = db.prepare('INSERT INTO app_user VALUES (?, ?, ?, ?, ?, ?)');
  return {
    any: () => any.get() !== undefined,
    byEmail: (email) => byEmail.get(email),
    async add({ email, name, role, calendlyUserUri, password }) {
      const id = uuid();
      insert.run(id, email, name, role, calendlyUserUri ?? null, await hashPassword(password));
      return id;
    },
    /** The first host who is a user, by Calendly's URI, else by e-mail. */
    ownerOf(hosts) {
      for (const host of hosts) if ((host.userId = idByUri.get(host.uri) ?? null)) return host.userId;
      for (const host of hosts) if ((host.userId = idByEmail.get(host.email) ?? null)) return host.userId;
      return null;
    },
  };
}

function eventLog(db) {
  const head = db.prepare('SELECT COALESCE(MAX(seq), 0) FROM event').pluck();
  const columns = 'SELECT seq, id, at_ms, name, payload FROM event';
  const all = db.prepare(`${columns} WHERE seq > ? ORDER BY seq LIMIT ?`);
  const own = db.prepare(`${columns} WHERE user_id = ? AND seq > ? ORDER BY seq LIMIT ?`);
  return {
    head: () => head.get(),
    after(seq, { role, sub }, limit) {
      const rows = role === 'admin' ? all.all(seq, limit) : own.all(sub, seq, limit);
      return rows.map(({ at_ms, ...row }) => ({ ...row, at: new Date(at_ms).toISOString() }));
    },
  };
}

/** Takes a webhook in: one transaction for the archive, the records and the events. */
function receiver(db, users) {
  const archive = db.prepare(`INSERT INTO delivery (id, dedupe_key, event, status, received_ms, signature, body)
    VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (dedupe_key) DO NOTHING`);
  const archived = db.prepare('SELECT id FROM delivery WHERE dedupe_key = ?').pluck();
  const upsertProspect = db.prepare(`
    INSERT INTO prospect (id, owner_id, email, email_key, firstname, lastname, phone, company, status, source,
      timezone, tracking, created_ms, updated_ms, last_booking_ms)
    VALUES (@id, @ownerId, @email, LOWER(@email), @firstname, @lastname, @phone, @company, 'new', 'calendly',
      @timezone, @tracking, @now, @now, @now)
    ON CONFLICT (COALESCE(owner_id, ''), email_key) DO UPDATE SET
      firstname = COALESCE(excluded.firstname, firstname), lastname = COALESCE(excluded.lastname, lastname),
      phone = COALESCE(excluded.phone, phone), company = COALESCE(excluded.company, company),
      timezone = COALESCE(excluded.timezone, timezone), updated_ms = excluded.updated_ms,
      last_booking_ms = excluded.last_booking_ms
    RETURNING *`);
  const insertProposal = db.prepare(`
    INSERT INTO proposal (id, invitee_uri, prospect_id, owner_id, status, title, start_ms, end_ms, timezone, location,
      hosts, guests, answers, tracking, cancel_url, reschedule_url, created_ms, updated_ms)
    VALUES (@id, @inviteeUri, @prospectId, @ownerId, 'pending', @title, @startMs, @endMs, @timezone, @location,
      @hosts, @guests, @answers, @tracking, @cancelUrl, @rescheduleUrl, @now, @now)
    RETURNING *`);
  const moveProposal = db.prepare(`
    UPDATE proposal SET invitee_uri = @inviteeUri, status = 'pending', cancellation = NULL, start_ms = @startMs,
      end_ms = @endMs, location = @location, cancel_url = @cancelUrl, reschedule_url = @rescheduleUrl,
      updated_ms = @now
    WHERE invitee_uri = @oldInviteeUri RETURNING *`);
  const setStatus = db.prepare(`UPDATE proposal SET status = @status, cancellation = @cancellation, updated_ms = @now
    WHERE invitee_uri = @inviteeUri RETURNING *`);
  const appendEvent = db.prepare('INSERT INTO event (id, at_ms, name, payload, user_id) VALUES (?, ?, ?, ?, ?)');

  function book(payload, now) {
    const hosts = hostsIn(payload);
    const ownerId = users.ownerOf(hosts);
    const person = personIn(payload);
    const tracking = JSON.stringify(person.tracking);
    const newId = uuid();
    const prospect = upsertProspect.get({ ...person, id: newId, ownerId, tracking, now });
    const meeting = meetingIn(payload);
    const proposal = {
      ...meeting,
      location: JSON.stringify(meeting.location),
      guests: JSON.stringify(meeting.guests),
      answers: JSON.stringify(meeting.answers),
      hosts: JSON.stringify(hosts),
      inviteeUri: payload.uri,
      now,
    };
    const moved = payload.old_invitee && moveProposal.get({ ...proposal, oldInviteeUri: payload.old_invitee });
    const row = moved || insertProposal.get({ ...proposal, id: uuid(), prospectId: prospect.id, ownerId, tracking });
    return [
      [prospect.id === newId ? 'prospect:created' : 'prospect:updated', prospectView(prospect)],
      [moved ? 'proposal-updated' : 'proposal-created', proposalView(row)],
    ];
  }

  function changeStatus(status, payload, now) {
    const cancellation = status === 'canceled' ? JSON.stringify(cancellationIn(payload)) : null;
    const row = setStatus.get({ status, cancellation, inviteeUri: payload.uri, now });
    return row ? [['proposal-status-changed', proposalView(row)]] : [];
  }

  const handlers = {
    'invitee.created': book,
    // The other half of a reschedule moves the proposal.
    'invitee.canceled': (payload, now) => (payload.rescheduled ? [] : changeStatus('canceled', payload, now)),
    'invitee_no_show.created': (payload, now) => changeStatus('no_show', payload, now),
    'invitee_no_show.deleted': (payload, now) => changeStatus('pending', payload, now),
  };

  return db.transaction((webhook, body, signature) => {
    const now = Date.now();
    const deliveryId = uuid();
    const key = dedupeKey(webhook);
    const handler = handlers[webhook.event];
    const status = handler ? 'processed' : 'ignored';
    const { changes } = archive.run(deliveryId, key, webhook.event, status, now, signature, body);
    if (changes === 0) return { status: 'duplicate', deliveryId: archived.get(key), events: [] };
    const at = new Date(now).toISOString();
    const events = (handler?.(webhook.payload, now) ?? []).map(([name, record]) => {
      const id = uuid();
      const { lastInsertRowid } = appendEvent.run(id, now, name, JSON.stringify(record), record.ownerId);
      return { name, record, userId: record.ownerId, seq: lastInsertRowid, id, at };
    });
    return { status, deliveryId, events };
  }).immediate;
}
