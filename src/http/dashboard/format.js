// Records as words: names, times, zones and safe links, in the reader's language.

import { computed } from '@preact/signals';
import { locale, t } from './i18n.js';

export const VIEWER_ZONE = Intl.DateTimeFormat().resolvedOptions().timeZone;

/** Formatters are costly to make: one for each locale and set of options. */
const made = new Map();
function formatter(Kind, options) {
  const key = `${Kind.name} ${locale.value} ${JSON.stringify(options)}`;
  if (!made.has(key)) made.set(key, new Kind(locale.value, options));
  return made.get(key);
}
const dates = (options) => formatter(Intl.DateTimeFormat, options);

export function wholeNumber(n) {
  return formatter(Intl.NumberFormat, {}).format(n);
}

export function percent(share) {
  return formatter(Intl.NumberFormat, { style: 'percent', maximumFractionDigits: 1 }).format(share);
}

/** Milliseconds, for a person: "12 ms", "1.4 s". */
export function duration(ms) {
  if (ms < 1_000) return `${wholeNumber(Math.round(ms * 10) / 10)} ms`;
  return `${formatter(Intl.NumberFormat, { maximumFractionDigits: 1 }).format(ms / 1_000)} s`;
}

export function fullName(prospect) {
  const name = [prospect.firstname, prospect.lastname].filter(Boolean).join(' ').trim();
  return name || prospect.email || t('unnamed');
}

/** One or two letters that stand for somebody. */
export function initials(prospect) {
  const words = fullName(prospect).split(/[\s@.]+/).filter((one) => /^[\p{L}\p{N}]/u.test(one));
  return [words[0], words.length > 1 ? words.at(-1) : ''].map((one) => [...(one ?? '')][0] ?? '').join('').toLocaleUpperCase(locale.value) || '·';
}

/** One of six hues, always the same for the same prospect. */
export function hue(id) {
  return parseInt(id.slice(-4), 16) % 6;
}

export function zoneName(zone) {
  return zone.replaceAll('_', ' ');
}

const zones = new Map();

export function isZone(zone) {
  if (!zone) return false;
  if (!zones.has(zone)) {
    try {
      zones.set(zone, Boolean(new Intl.DateTimeFormat('en', { timeZone: zone })));
    } catch {
      zones.set(zone, false);
    }
  }
  return zones.get(zone);
}

/** A meeting's day and hours in a zone, as that zone's wall has them; null when the zone is none. */
export function slot(startTime, endTime, zone) {
  if (!startTime || !isZone(zone)) return null;
  const start = new Date(startTime);
  const end = endTime ? new Date(endTime) : start;
  const day = dates({ timeZone: zone, weekday: 'short', day: 'numeric', month: 'short', ...yearIfOther(startTime) });
  const hours = dates({ timeZone: zone, hour: 'numeric', minute: '2-digit' });
  return { day: day.format(start), hours: hours.formatRange(start, end), start: hours.format(start) };
}

function yearIfOther(time) {
  return new Date(time).getFullYear() === new Date().getFullYear() ? {} : { year: 'numeric' };
}

/** A day as a key to group by, in the viewer's zone: "2026-11-20". */
export function dayKey(time) {
  const day = new Date(time);
  return `${day.getFullYear()}-${String(day.getMonth() + 1).padStart(2, '0')}-${String(day.getDate()).padStart(2, '0')}`;
}

/** "Today", "Tomorrow", else the whole date. */
export function dayName(time) {
  const today = new Date();
  const inDays = (days) => dayKey(new Date(today.getFullYear(), today.getMonth(), today.getDate() + days));
  if (dayKey(time) === inDays(0)) return t('day.today');
  if (dayKey(time) === inDays(1)) return t('day.tomorrow');
  if (dayKey(time) === inDays(-1)) return t('day.yesterday');
  return dates({ weekday: 'long', day: 'numeric', month: 'long', ...yearIfOther(time) }).format(new Date(time));
}

/** "3 min ago", "yesterday", then the date. */
export function ago(time, now = Date.now()) {
  const relative = formatter(Intl.RelativeTimeFormat, { numeric: 'auto', style: 'short' });
  const minutes = Math.round((now - Date.parse(time)) / 60_000);
  if (minutes < 1) return t('just_now');
  if (minutes < 60) return relative.format(-minutes, 'minute');
  if (minutes < 24 * 60) return relative.format(-Math.round(minutes / 60), 'hour');
  if (minutes < 7 * 24 * 60) return relative.format(-Math.round(minutes / 60 / 24), 'day');
  return shortDate(time);
}

export function shortDate(time) {
  return dates({ day: 'numeric', month: 'short', ...yearIfOther(time) }).format(new Date(time));
}

export function exactly(time) {
  return time ? dates({ dateStyle: 'full', timeStyle: 'short' }).format(new Date(time)) : '';
}

/** To the millisecond, for machines' times. */
export function toTheMillisecond(time) {
  return dates({ day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit', second: '2-digit', fractionalSecondDigits: 3 }).format(new Date(time));
}

/** The order of names in the reader's language; used for people chosen from a short list only. */
export const collator = computed(() => new Intl.Collator(locale.value));

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
    return url.protocol === 'https:' || url.protocol === 'http:' ? url : null;
  } catch {
    return null;
  }
}

/** Whether the last that happened to a proposal, people's answers aside, is that it moved to another time. */
export function hasMoved({ history }) {
  return history.findLast(({ what }) => what !== 'accepted' && what !== 'rejected')?.what === 'moved';
}
