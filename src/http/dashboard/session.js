// The one session of this page, and the requests that views make in it.

import { Session } from './api.js';

/** Who wants to know when the server no longer knows the session. */
const endings = new Set();

export const session = new Session({ onEnded: () => endings.forEach((ended) => ended('expired')) });

export function onSessionEnd(ended) {
  endings.add(ended);
}

export function read(path) {
  return session.get(path);
}

export function write(method, path, body, options) {
  return session.request(method, path, body, options);
}
