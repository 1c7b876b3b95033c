// The prospects that proposals name by id, and the users that own records: looked up once, kept true by events.

import { signal } from '@preact/signals';
import { isRefusal } from './api.js';
import { findListed, onEvents, untilItWorks } from './sync.js';
import { read } from './session.js';
import { isAdmin, user } from './store.js';

const known = new Map();
const waiting = [];
let running = 0;

/** The prospect with this id, as a signal; null until it is known, and when it cannot be read. */
export function prospectById(id) {
  if (!known.has(id)) {
    const listed = findListed(id);
    known.set(id, signal(listed));
    if (!listed) {
      waiting.push(id);
      lookUp();
    }
  }
  return known.get(id);
}

/** Takes a prospect from any answer, so that nobody has to ask for it. */
export function remember(prospect) {
  const found = known.get(prospect.id);
  if (!found) known.set(prospect.id, signal(prospect));
  else if (!(found.peek()?.updatedAt > prospect.updatedAt)) found.value = prospect;
}

/** A few at a time: a long agenda must not ask a hundred questions at once. */
async function lookUp() {
  if (running >= 4 || waiting.length === 0) return;
  running += 1;
  const id = waiting.pop();
  const me = user.peek();
  await untilItWorks(async () => {
    try {
      const { body } = await read(`/api/prospects/${encodeURIComponent(id)}`);
      remember(body);
    } catch (error) {
      // Else the booking is shown without a name.
      if (!isRefusal(error)) throw error;
    }
  }, () => user.peek() === me);
  running -= 1;
  lookUp();
}

onEvents((events) => {
  for (const { name, payload } of events) {
    if (name === 'prospect:created' || (name === 'prospect:updated' && known.has(payload.id))) remember(payload);
    // Not every prospect that ever arrived is kept: the oldest goes, and is asked for again where it is shown.
    if (known.size > 5_000) known.delete(known.keys().next().value);
  }
});

/** All users, for admins; empty for members, who own all they see. */
export const users = signal([]);
/** Ids that nobody had when the users were read, so that they are not read for the same one for ever. */
const strangers = new Set();
/** For whom the users are being read. */
let readingFor = null;

/** Begins anew with what the one who has just signed in may see. */
export function loadUsers() {
  known.clear();
  strangers.clear();
  users.value = [];
  readUsers();
}

function readUsers() {
  const me = user.peek();
  if (!isAdmin.peek() || readingFor === me) return;
  readingFor = me;
  const wanted = () => user.peek() === me;
  untilItWorks(async () => {
    const all = await everyUser();
    if (!wanted()) return;
    readingFor = null;
    users.value = all;
  }, wanted);
}

async function everyUser() {
  const all = [];
  const query = new URLSearchParams({ limit: '200' });
  for (;;) {
    const { body } = await read(`/api/users?${query}`);
    all.push(...body.items);
    if (!body.nextCursor) return all;
    query.set('cursor', body.nextCursor);
  }
}

/** What a user is called, or '' while that is not known. Who was added a moment ago is asked for. */
export function userName(id) {
  const found = users.value.find((one) => one.id === id);
  if (found) return found.name || found.email;
  if (!readingFor && !strangers.has(id)) {
    strangers.add(id);
    readUsers();
  }
  return '';
}
