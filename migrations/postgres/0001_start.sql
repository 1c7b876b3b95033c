-- The same tables as migrations/sqlite; only BYTEA is called BLOB there, and names sort by code
-- point there anyway.
-- Times are milliseconds since the Unix epoch, ids UUIDv7 text, lists and objects JSON text.

CREATE TABLE setting (
    name TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
);

CREATE TABLE app_user (
    id TEXT NOT NULL PRIMARY KEY,
    email TEXT NOT NULL,
    email_key TEXT NOT NULL,
    name TEXT NOT NULL,
    role TEXT NOT NULL,
    calendly_user_uri TEXT,
    password_hash TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    updated_ms BIGINT NOT NULL,
    version BIGINT NOT NULL
);
CREATE UNIQUE INDEX app_user_email ON app_user (email_key);
CREATE UNIQUE INDEX app_user_calendly ON app_user (calendly_user_uri);

CREATE TABLE session (
    id TEXT NOT NULL PRIMARY KEY,
    user_id TEXT NOT NULL REFERENCES app_user (id) ON DELETE CASCADE,
    created_ms BIGINT NOT NULL,
    expires_ms BIGINT NOT NULL,
    ended_ms BIGINT
);
CREATE INDEX session_of_user ON session (user_id);
CREATE INDEX session_expires ON session (expires_ms);

CREATE TABLE refresh_token (
    hash TEXT NOT NULL PRIMARY KEY,
    session_id TEXT NOT NULL REFERENCES session (id) ON DELETE CASCADE,
    created_ms BIGINT NOT NULL,
    used_ms BIGINT
);
CREATE INDEX refresh_token_session ON refresh_token (session_id);

CREATE TABLE connection (
    id TEXT NOT NULL PRIMARY KEY,
    user_id TEXT REFERENCES app_user (id) ON DELETE SET NULL,
    signing_key TEXT NOT NULL,
    created_ms BIGINT NOT NULL
);

CREATE TABLE prospect (
    id TEXT NOT NULL PRIMARY KEY,
    owner_id TEXT REFERENCES app_user (id),
    conversation_id TEXT NOT NULL,
    firstname TEXT,
    lastname TEXT,
    email TEXT NOT NULL,
    email_key TEXT NOT NULL,
    phone TEXT,
    company TEXT,
    status TEXT NOT NULL,
    source TEXT NOT NULL,
    notes TEXT,
    timezone TEXT,
    tracking TEXT NOT NULL,
    last_booking_ms BIGINT,
    edited TEXT NOT NULL,
    profile TEXT NOT NULL,
    fold_owner_id TEXT,
    fold_email_key TEXT,
    form_only BOOLEAN NOT NULL,
    name_key TEXT COLLATE "C" NOT NULL,
    search_text TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    updated_ms BIGINT NOT NULL,
    version BIGINT NOT NULL
);
-- Nobody counts as one owner, so that a second unassigned prospect conflicts too.
CREATE UNIQUE INDEX prospect_owner_email ON prospect (COALESCE(owner_id, ''), email_key);
CREATE UNIQUE INDEX prospect_fold ON prospect (COALESCE(fold_owner_id, ''), fold_email_key);
CREATE INDEX prospect_email ON prospect (email_key);
CREATE INDEX prospect_fold_email ON prospect (fold_email_key);
CREATE INDEX prospect_created ON prospect (created_ms, id);
CREATE INDEX prospect_owner_created ON prospect (owner_id, created_ms, id);

CREATE TABLE proposal (
    id TEXT NOT NULL PRIMARY KEY,
    prospect_id TEXT NOT NULL REFERENCES prospect (id),
    conversation_id TEXT NOT NULL,
    owner_id TEXT REFERENCES app_user (id),
    status TEXT NOT NULL,
    title TEXT,
    start_ms BIGINT,
    end_ms BIGINT,
    timezone TEXT,
    location TEXT,
    hosts TEXT NOT NULL,
    guests TEXT NOT NULL,
    answers TEXT NOT NULL,
    tracking TEXT NOT NULL,
    cancellation TEXT,
    no_show_ms BIGINT,
    history TEXT NOT NULL,
    cancel_url TEXT,
    reschedule_url TEXT,
    source TEXT NOT NULL,
    decisions TEXT NOT NULL,
    edited TEXT NOT NULL,
    current_invitee TEXT,
    created_ms BIGINT NOT NULL,
    updated_ms BIGINT NOT NULL,
    version BIGINT NOT NULL
);
CREATE INDEX proposal_prospect ON proposal (prospect_id);
CREATE INDEX proposal_created ON proposal (created_ms, id);
CREATE INDEX proposal_owner_created ON proposal (owner_id, created_ms, id);
CREATE INDEX proposal_start ON proposal (COALESCE(start_ms, 0), id);

-- One row for each invitee a delivery was about or named.
CREATE TABLE invitee (
    uri TEXT NOT NULL PRIMARY KEY,
    proposal_id TEXT,
    prospect_id TEXT,
    owner_id TEXT,
    dismissed BOOLEAN NOT NULL,
    facts TEXT NOT NULL
);
CREATE INDEX invitee_proposal ON invitee (proposal_id);
CREATE INDEX invitee_prospect ON invitee (prospect_id);

-- What routing forms say about a person, by address.
CREATE TABLE routing_profile (
    email_key TEXT NOT NULL PRIMARY KEY,
    profile TEXT NOT NULL
);

CREATE TABLE delivery (
    id TEXT NOT NULL PRIMARY KEY,
    status TEXT NOT NULL,
    reason TEXT,
    event TEXT,
    dedupe_key TEXT,
    duplicate_of TEXT,
    connection_id TEXT,
    received_ms BIGINT NOT NULL,
    signed_ms BIGINT,
    prospect_id TEXT,
    proposal_id TEXT,
    headers TEXT NOT NULL,
    timings TEXT,
    body BYTEA
);
CREATE INDEX delivery_received ON delivery (received_ms, id);
CREATE INDEX delivery_status ON delivery (status, received_ms, id);
-- One delivery stands for an event; others are answered as its duplicates.
CREATE UNIQUE INDEX delivery_dedupe ON delivery (dedupe_key) WHERE duplicate_of IS NULL;

-- How many requests were refused, by code; only the last 1,000 are kept as deliveries.
CREATE TABLE refusal_count (
    code TEXT NOT NULL PRIMARY KEY,
    refused BIGINT NOT NULL
);

CREATE TABLE event (
    seq BIGINT NOT NULL PRIMARY KEY,
    id TEXT NOT NULL,
    at_ms BIGINT NOT NULL,
    name TEXT NOT NULL,
    payload TEXT NOT NULL,
    user_id TEXT,
    admins BOOLEAN NOT NULL
);
CREATE INDEX event_user ON event (user_id, seq);
CREATE INDEX event_at ON event (at_ms);

-- The one counter: head is the last event's seq, floor the last one no longer kept.
CREATE TABLE event_log (
    id BIGINT NOT NULL PRIMARY KEY,
    head_seq BIGINT NOT NULL,
    floor_seq BIGINT NOT NULL
);
INSERT INTO event_log (id, head_seq, floor_seq) VALUES (1, 0, 0);
