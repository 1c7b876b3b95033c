// What several parts of the page look at: who is signed in, where one is, how the connection is.

import { computed, signal } from '@preact/signals';

/** 'starting', 'login' or 'desk'. */
export const stage = signal('starting');
/** What the log-in form or the splash says above all: a text key, or ''. */
export const notice = signal('');
/** The user who is signed in: `{id, email, name, role}`. */
export const user = signal(null);
export const isAdmin = computed(() => user.value?.role === 'admin');

/** 'live', 'reconnecting' or 'offline'. */
export const connection = signal('reconnecting');
/** Why the lists could not be loaded, while that lasts: an Error, or null. */
export const trouble = signal(null);

/** The server's count of prospects `{total, byStatus}`; null until it has counted. */
export const counts = signal(null);
export const newCount = computed(() => counts.value?.byStatus.new ?? 0);

/** Ticks twice a minute, so that "3 min ago" stays true. */
export const minute = signal(Date.now());
setInterval(() => { minute.value = Date.now(); }, 30_000);

// Where one is: `#/prospects/{id}`. Ids only; whatever one searches for stays out of addresses.

export const route = signal(parse(location.hash));
addEventListener('hashchange', () => { route.value = parse(location.hash); });

/** An address that somebody has mangled leads to the first view. */
function parse(hash) {
  try {
    const [view, id] = hash.replace(/^#\/?/, '').split('/').map(decodeURIComponent);
    return { view: view || 'prospects', id: id || null };
  } catch {
    return { view: 'prospects', id: null };
  }
}

export function href(view, id) {
  return id ? `#/${view}/${encodeURIComponent(id)}` : `#/${view}`;
}

/** Whether one came here by walking through a list, where the focus then stays. */
export let walking = false;

/** Goes there. `replace` leaves no trace in the history: for walking through a list. */
export function go(view, id, { replace = false } = {}) {
  const target = href(view, id);
  walking = replace;
  if (location.hash === target) return;
  if (replace) {
    history.replaceState(null, '', target);
    route.value = parse(target);
  } else {
    location.hash = target;
  }
}

export const NO_FILTER = { search: '', status: '', source: '', ownerId: '', sort: '-createdAt' };
/** What the list of prospects shows; kept from one visit of the view to the next. */
export const prospectFilter = signal(NO_FILTER);
/** The help dialog, the settings, the incoming notifications: which of them is open, or ''. */
export const open = signal('');
