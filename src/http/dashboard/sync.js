// Follows the event log: every list on the page hears every event once, in order, a frame's worth at a time.

import { batch, effect, signal } from '@preact/signals';
import { clock } from './clock.js';
import { Live } from './live.js';
import { read, session } from './session.js';
import { connection, counts, trouble } from './store.js';

const RECOUNT_MS = 250;
/** In a flood the page is drawn no more often than this, so that keys and pointer find it free. */
const DRAW_MS = 100;
/** A frame that has not come by then is not waited for. */
const NO_FRAME_MS = 1_000;

/** The lists on the page, and what else listens: `(events) => void` after each frame's events are applied. */
const lists = new Set();
const listeners = new Set();

/** Counts the times at which the log could not be followed: what is not a list loads itself anew then. */
export const generation = signal(0);

let live = null;
/** The position in the log up to which everything has been heard. */
let position = 0;
/** The position from which on everything is heard: lists must have been read there or later. */
let start = 0;
let queue = [];
let frame = 0;
let timer = 0;
let drawnAt = 0;
/** The server's time at which the connection was made: what was committed before is replayed, not live. */
let liveSince = Infinity;

/**
 * Starts to follow the log. The first read gives the position: whatever happens from there on reaches the lists
 * as an event. Lists load meanwhile, and once more if they were read before.
 */
export async function follow(ended) {
  stop();
  const mine = new Live(session, {
    since: () => position,
    event: receive,
    connected: () => {
      liveSince = Date.now() + clock.offset + clock.uncertainty;
      recount();
    },
    resync: (seq) => {
      position = start = seq;
      reload();
    },
    state: (state) => { connection.value = state; },
    ended,
  });
  live = mine;
  const { body, seq } = await untilItWorks(() => read('/api/prospects/counts'), () => live === mine);
  if (live !== mine) return;
  position = start = seq;
  counts.value = body;
  mine.open();
  lists.forEach((list) => { if (list.seq < start) load(list); });
}

export function stop() {
  live?.close();
  live = null;
  cancelAnimationFrame(frame);
  clearTimeout(timer);
  queue = [];
  start = 0;
  liveSince = Infinity;
  connection.value = 'reconnecting';
  counts.value = null;
  trouble.value = null;
}

/** Keeps a list true from now on, and loads it. Answers how to stop that. */
export function watch(list) {
  lists.add(list);
  load(list);
  return () => lists.delete(list);
}

/** Loads a watched list, as often as it takes. */
export function load(list) {
  const wanted = () => live !== null && lists.has(list);
  return untilItWorks(async () => {
    if (await list.load() < start && wanted()) await list.load();
  }, wanted);
}

/** Hears the events of each frame, after the lists have them: `[{name, payload, meta, known, live}]`, with what was known of an updated proposal before. */
export function onEvents(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

function reload() {
  generation.value += 1;
  lists.forEach(load);
  recount();
}

/** Tries until it works, less and less often, and says meanwhile why it does not. */
export async function untilItWorks(task, wanted) {
  for (let failures = 0; ; failures += 1) {
    try {
      const answer = await task();
      trouble.value = null;
      return answer;
    } catch (error) {
      if (!wanted()) return {};
      trouble.value = error;
      await new Promise((resolve) => { setTimeout(resolve, Math.min(15_000, 1_000 * 2 ** failures)); });
      if (!wanted()) return {};
    }
  }
}

function receive(name, payload, meta) {
  if (meta.seq <= position) return;
  position = meta.seq;
  const known = name === 'proposal-updated' ? findListed(payload.appointmentId) : null;
  queue.push({ name, payload, meta, known, live: Date.parse(meta.at) > liveSince });
  if (queue.length > 1) return;
  // What comes alone is drawn in the next frame. A hidden tab has none, nor one that is hidden before it comes, but
  // its title and icon are looked at.
  const wait = drawnAt + DRAW_MS - performance.now();
  if (wait > 0 || document.hidden) timer = setTimeout(drain, Math.max(0, wait));
  else {
    frame = requestAnimationFrame(drain);
    timer = setTimeout(drain, NO_FRAME_MS);
  }
}

function drain() {
  cancelAnimationFrame(frame);
  clearTimeout(timer);
  drawnAt = performance.now();
  const events = queue;
  queue = [];
  batch(() => {
    events.forEach(apply);
    lists.forEach((list) => list.flush());
  });
  if (events.some(({ name }) => name.startsWith('prospect:'))) recount();
  listeners.forEach((listener) => listener(events));
}

function apply({ name, payload }) {
  switch (name) {
    case 'prospect:created':
    case 'prospect:updated':
      return tell('prospect', { record: payload, arrived: name === 'prospect:created' });
    case 'prospect:deleted':
      return dropProspect(payload.id);
    case 'proposal-created':
    case 'proposal-updated':
      return tell('proposal', { record: payload, arrived: name === 'proposal-created' });
    case 'proposal-status-changed':
      return tell('proposal', { record: payload.proposal });
    case 'proposal-deleted':
      return tell('proposal', { id: payload.appointmentId });
  }
}

function tell(kind, change) {
  lists.forEach((list) => list.apply(kind, change));
}

/** The former owner of a reassigned prospect hears nothing else about its proposals: they go with it. */
function dropProspect(id) {
  tell('prospect', { id });
  lists.forEach((list) => list.dropProspect?.(id));
}

/** A record that some list on the page has already, or null. */
export function findListed(id) {
  for (const list of lists) {
    const found = list.get(id);
    if (found) return found;
  }
  return null;
}

/** Shows at once what an answer to one's own request says; the event that follows changes nothing. */
export function show(kind, record) {
  batch(() => {
    tell(kind, { record });
    lists.forEach((list) => list.flush());
  });
}

let counting = false;
let countAgain = false;

/** The badge is always counted by the server: at once, and once more when something happened meanwhile. */
async function recount() {
  countAgain = true;
  if (counting) return;
  counting = true;
  while (countAgain && live) {
    countAgain = false;
    try {
      const { body } = await read('/api/prospects/counts');
      if (live) counts.value = body;
      await sleep(RECOUNT_MS);
    } catch {
      countAgain = true;
      await sleep(3_000);
    }
  }
  counting = false;
}

function sleep(ms) {
  return new Promise((resolve) => { setTimeout(resolve, ms); });
}

// The number of new prospects belongs to the whole page: the tab's title and icon say it too.
effect(() => {
  const fresh = counts.value?.byStatus.new ?? 0;
  document.title = fresh ? `(${fresh}) Bookbell` : 'Bookbell';
  const icon = document.getElementById('favicon');
  const wanted = new URL(fresh ? 'favicon-new.svg' : 'favicon.svg', import.meta.url).pathname;
  if (icon.getAttribute('href') !== wanted) icon.setAttribute('href', wanted);
});
