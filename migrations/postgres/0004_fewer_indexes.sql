-- A delivery's id begins with the time of its receipt: the order of ids is the order of receipt.
DROP INDEX delivery_received;

-- Nearly all are processed; those who look for others look for few.
DROP INDEX delivery_status;
CREATE INDEX delivery_status ON delivery (status, id) WHERE status <> 'processed';

-- What only admins hear of is not looked for by user.
DROP INDEX event_user;
CREATE INDEX event_user ON event (user_id, seq) WHERE user_id IS NOT NULL;
