// Records as words: names, times, zones and safe links.

// The page is in English; an English reader's own variety decides between 9:00 am and 09:00.
const LOCALE = navigator.languages.find((language) => language.startsWith('en')) ?? 'en-GB';
export const VIEWER_ZONE = Intl.DateTimeFormat().resolvedOptions().timeZone;

export const STATUS_LABELS = {
  new: 'New', contacted: 'Contacted', qualified: 'Qualified', won: 'Won', lost: 'Lost',
  pending: 'Pending', accepted: 'Accepted', rejected: 'Rejected', canceled: 'Canceled', no_show: 'No-show',
};

const number = new Intl.NumberFormat(LOCALE);
const relative = new Intl.RelativeTimeFormat(LOCALE, { numeric: 'auto', style: 'short' });
const full = new Intl.DateTimeFormat(LOCALE, { dateStyle: 'full', timeStyle: 'short' });

export function wholeNumber(n) {
  return number.format(n);
}

export function fullName(prospect) {
  const name = [prospect.firstname, prospect.lastname].filter(Boolean).join(' ').trim();
  return name || prospect.email || 'Unnamed';
}

export function zoneName(zone) {
  return zone.replaceAll('_', ' ');
}

/** A meeting's day and hours in a zone; null when the zone is none. */
export function slot(startTime, endTime, zone) {
  try {
    const day = new Intl.DateTimeFormat(LOCALE, { timeZone: zone, weekday: 'short', day: 'numeric', month: 'short', ...yearIfOther(startTime) });
    const hours = new Intl.DateTimeFormat(LOCALE, { timeZone: zone, hour: 'numeric', minute: '2-digit' });
    const start = new Date(startTime);
    const end = endTime ? new Date(endTime) : start;
    return { day: day.format(start), hours: hours.formatRange(start, end) };
  } catch {
    return null;
  }
}

function yearIfOther(time) {
  return new Date(time).getFullYear() === new Date().getFullYear() ? {} : { year: 'numeric' };
}

/** "3 min ago", "yesterday", then the date. */
export function ago(time) {
  const minutes = Math.round((Date.now() - Date.parse(time)) / 60_000);
  if (minutes < 1) return 'just now';
  if (minutes < 60) return relative.format(-minutes, 'minute');
  if (minutes < 24 * 60) return relative.format(-Math.round(minutes / 60), 'hour');
  if (minutes < 7 * 24 * 60) return relative.format(-Math.round(minutes / 60 / 24), 'day');
  return new Intl.DateTimeFormat(LOCALE, { day: 'numeric', month: 'short', ...yearIfOther(time) }).format(new Date(time));
}

export function exactly(time) {
  return full.format(new Date(time));
}

/** An address as a mailto link; nothing in it can add a header. */
export function mailto(email) {
  return `mailto:${encodeURIComponent(email).replaceAll('%40', '@')}`;
}

export function tel(phone) {
  return `tel:${phone.replace(/[^\d+]/g, '')}`;
}

/** A web address somebody typed, when it is one; `javascript:` and the like are not. */
export function webAddress(text) {
  try {
    const url = new URL(text);
    return url.protocol === 'https:' ? url : null;
  } catch {
    return null;
  }
}
