-- The few events that admins do not hear of, so that those they do are counted without reading them.
CREATE INDEX event_hidden ON event (seq) WHERE NOT admins;
