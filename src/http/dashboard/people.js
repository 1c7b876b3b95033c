// The prospects that proposals name by id, and the users that own records: looked up once, kept true by events.

import { signal } from '@preact/signals';
import { findListed, onEvents } from './sync.js';
import { read } from './session.js';
import { isAdmin } from './store.js';

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
  try {
    const { body } = await read(`/api/prospects/${encodeURIComponent(id)}`);
    remember(body);
  } catch {
    // The booking is shown without a name.
  }
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

export async function loadUsers() {
  users.value = [];
  known.clear();
  if (!isAdmin.value) return;
  try {
    const { body } = await read('/api/users?limit=200');
    users.value = body.items;
  } catch {
    // Owners are then shown by nothing, and cannot be chosen.
  }
}

export function userName(id) {
  const found = users.value.find((one) => one.id === id);
  return found ? found.name || found.email : '';
}
