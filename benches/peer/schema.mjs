// The tables of both variants; only a few types differ.

export const SQLITE = { blob: 'BLOB', seq: 'INTEGER PRIMARY KEY AUTOINCREMENT' };
export const POSTGRES = { blob: 'BYTEA', seq: 'BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY' };

export const schema = ({ blob, seq }) => `
CREATE TABLE IF NOT EXISTS app_user (
  id TEXT PRIMARY KEY, email TEXT NOT NULL UNIQUE, name TEXT NOT NULL, role TEXT NOT NULL,
  calendly_user_uri TEXT UNIQUE, password_hash TEXT NOT NULL);

CREATE TABLE IF NOT EXISTS delivery (
  id TEXT PRIMARY KEY, dedupe_key TEXT NOT NULL UNIQUE, event TEXT NOT NULL, status TEXT NOT NULL,
  received_ms BIGINT NOT NULL, signature TEXT NOT NULL, body ${blob} NOT NULL);
CREATE INDEX IF NOT EXISTS delivery_received ON delivery (received_ms, id);
CREATE INDEX IF NOT EXISTS delivery_status ON delivery (status, received_ms, id);

CREATE TABLE IF NOT EXISTS prospect (
  id TEXT PRIMARY KEY, owner_id TEXT REFERENCES app_user (id), email TEXT NOT NULL, email_key TEXT NOT NULL,
  firstname TEXT, lastname TEXT, phone TEXT, company TEXT, status TEXT NOT NULL, source TEXT NOT NULL,
  timezone TEXT, tracking TEXT NOT NULL, created_ms BIGINT NOT NULL, updated_ms BIGINT NOT NULL,
  last_booking_ms BIGINT);
CREATE UNIQUE INDEX IF NOT EXISTS prospect_owner_email ON prospect (COALESCE(owner_id, ''), email_key);
CREATE INDEX IF NOT EXISTS prospect_email ON prospect (email_key);
CREATE INDEX IF NOT EXISTS prospect_created ON prospect (created_ms, id);
CREATE INDEX IF NOT EXISTS prospect_owner_created ON prospect (owner_id, created_ms, id);

CREATE TABLE IF NOT EXISTS proposal (
  id TEXT PRIMARY KEY, invitee_uri TEXT NOT NULL UNIQUE, prospect_id TEXT NOT NULL REFERENCES prospect (id),
  owner_id TEXT REFERENCES app_user (id), status TEXT NOT NULL, title TEXT, start_ms BIGINT, end_ms BIGINT,
  timezone TEXT, location TEXT, hosts TEXT NOT NULL, guests TEXT NOT NULL, answers TEXT NOT NULL,
  tracking TEXT NOT NULL, cancellation TEXT, cancel_url TEXT, reschedule_url TEXT,
  created_ms BIGINT NOT NULL, updated_ms BIGINT NOT NULL);
CREATE INDEX IF NOT EXISTS proposal_prospect ON proposal (prospect_id);
CREATE INDEX IF NOT EXISTS proposal_created ON proposal (created_ms, id);
CREATE INDEX IF NOT EXISTS proposal_owner_created ON proposal (owner_id, created_ms, id);
CREATE INDEX IF NOT EXISTS proposal_start ON proposal (start_ms, id);

CREATE TABLE IF NOT EXISTS event (
  seq ${seq}, id TEXT NOT NULL, at_ms BIGINT NOT NULL, name TEXT NOT NULL, payload TEXT NOT NULL, user_id TEXT);
CREATE INDEX IF NOT EXISTS event_user ON event (user_id, seq);
CREATE INDEX IF NOT EXISTS event_at ON event (at_ms);
`;
