// Records as clients see them, from rows.

const time = (ms) => (ms == null ? null : new Date(ms).toISOString());
const parsed = (text) => (text == null ? null : JSON.parse(text));

export const prospectView = (row) => ({
  id: row.id,
  firstname: row.firstname,
  lastname: row.lastname,
  email: row.email,
  phone: row.phone,
  company: row.company,
  status: row.status,
  source: row.source,
  notes: null,
  timezone: row.timezone,
  tracking: parsed(row.tracking),
  ownerId: row.owner_id,
  createdAt: time(row.created_ms),
  updatedAt: time(row.updated_ms),
  lastBookingAt: time(row.last_booking_ms),
});

export const proposalView = (row) => ({
  appointmentId: row.id,
  prospectId: row.prospect_id,
  ownerId: row.owner_id,
  status: row.status,
  title: row.title,
  startTime: time(row.start_ms),
  endTime: time(row.end_ms),
  timezone: row.timezone,
  location: parsed(row.location),
  hosts: parsed(row.hosts),
  guests: parsed(row.guests),
  answers: parsed(row.answers),
  tracking: parsed(row.tracking),
  cancellation: parsed(row.cancellation),
  cancelUrl: row.cancel_url,
  rescheduleUrl: row.reschedule_url,
  source: 'calendly',
  createdAt: time(row.created_ms),
  updatedAt: time(row.updated_ms),
});
