-- What users were described as before they were changed, so that a rebuild gives each booking to
-- whom it went when it came in.
CREATE TABLE user_before (
    user_id TEXT NOT NULL REFERENCES app_user (id) ON DELETE CASCADE,
    until_ms BIGINT NOT NULL,
    email TEXT NOT NULL,
    calendly_user_uri TEXT,
    PRIMARY KEY (user_id, until_ms)
);
