// Calendly's wire: the signature, and the parts of a payload that are kept.
import { createHmac, timingSafeEqual } from 'node:crypto';

const TOLERANCE_S = 180;

/** Whether `header` (`t=…,v1=…`) signs the raw body with `key`, and not too long ago. */
export function isSigned(header, body, key) {
  const parts = Object.fromEntries((header ?? '').split(',').map((part) => part.trim().split('=')));
  if (!/^\d+$/.test(parts.t) || !/^[0-9a-f]{64}$/i.test(parts.v1)) return false;
  if (Math.abs(Date.now() / 1000 - Number(parts.t)) > TOLERANCE_S) return false;
  const expected = createHmac('sha256', key).update(`${parts.t}.`).update(body).digest();
  return timingSafeEqual(expected, Buffer.from(parts.v1, 'hex'));
}

/** The natural key of an event: a retry has the same. */
export function dedupeKey({ event, created_at: createdAt, payload }) {
  return `${event} ${payload.uri} ${payload.cancellation?.created_at ?? payload.no_show?.created_at ?? createdAt}`;
}

const ms = (time) => (time ? Date.parse(time) : null);

/** The person of an invitee payload. */
export function personIn(payload) {
  const [first, ...rest] = (payload.name ?? '').split(' ');
  const { tracking } = payload;
  return {
    email: payload.email,
    firstname: payload.first_name ?? (first || null),
    lastname: payload.last_name ?? (rest.join(' ') || null),
    phone: payload.text_reminder_number ?? null,
    company: payload.questions_and_answers?.find((qa) => /company|business/i.test(qa.question))?.answer ?? null,
    timezone: payload.timezone ?? null,
    tracking: {
      utmSource: tracking?.utm_source ?? null,
      utmMedium: tracking?.utm_medium ?? null,
      utmCampaign: tracking?.utm_campaign ?? null,
      utmTerm: tracking?.utm_term ?? null,
      utmContent: tracking?.utm_content ?? null,
      salesforceUuid: tracking?.salesforce_uuid ?? null,
    },
  };
}

/** The hosts of a booking, in Calendly's order. */
export function hostsIn(payload) {
  return (payload.scheduled_event?.event_memberships ?? []).map((host) => ({
    uri: host.user ?? null,
    email: host.user_email ?? null,
    name: host.user_name ?? null,
  }));
}

/** The meeting of an invitee payload. */
export function meetingIn(payload) {
  const meeting = payload.scheduled_event ?? {};
  const { location } = meeting;
  return {
    title: meeting.name ?? null,
    startMs: ms(meeting.start_time),
    endMs: ms(meeting.end_time),
    timezone: payload.timezone ?? null,
    location: location ? { kind: location.type, value: location.join_url ?? location.location ?? null } : null,
    guests: (meeting.event_guests ?? []).map((guest) => guest.email),
    answers: (payload.questions_and_answers ?? []).map(({ question, answer }) => ({ question, answer })),
    cancelUrl: payload.cancel_url ?? null,
    rescheduleUrl: payload.reschedule_url ?? null,
  };
}

/** Who canceled and why. */
export function cancellationIn({ cancellation }) {
  return {
    by: cancellation?.canceler_type ?? null,
    name: cancellation?.canceled_by ?? null,
    reason: cancellation?.reason ?? null,
    at: cancellation?.created_at ?? null,
  };
}
