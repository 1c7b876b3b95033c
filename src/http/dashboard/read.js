// What this user has seen: prospects opened and notifications put away, shared by all tabs of the browser.

import { signal } from '@preact/signals';
import { user } from './store.js';

const MOST = 2_000;
const keyOf = () => `bookbell-read-${user.value?.id}`;

/** Ids of what was seen, oldest first. */
const seen = signal(new Set());

export function loadRead() {
  seen.value = new Set(stored());
}

function stored() {
  try {
    return JSON.parse(localStorage.getItem(keyOf()) ?? '[]');
  } catch {
    return [];
  }
}

export function isRead(id) {
  return seen.value.has(id);
}

export function markRead(id) {
  if (seen.value.has(id)) return;
  // Another tab may have written since.
  const ids = [...new Set([...stored(), ...seen.value, id])].slice(-MOST);
  seen.value = new Set(ids);
  localStorage.setItem(keyOf(), JSON.stringify(ids));
}

addEventListener('storage', ({ key }) => {
  if (user.value && key === keyOf()) loadRead();
});
