// The live side of the API: one Socket.IO connection that resumes where it was and says how it is.

import { io } from 'socket.io-client';

const DURABLE_EVENTS = [
  'prospect:created', 'prospect:updated', 'prospect:deleted',
  'proposal-created', 'proposal-updated', 'proposal-deleted', 'proposal-status-changed',
  'delivery-quarantined',
];
const TOKEN_REFUSALS = ['token_missing', 'token_invalid', 'token_expired'];
const OFFLINE_AFTER_MS = 30_000;
const STEADY_AFTER_MS = 3_000;

export class Live {
  #session;
  #on;
  #socket;
  #closed = new AbortController();
  #usedToken = null;
  #handshake = 0;
  #setbacks = 0;
  #connectedAt = 0;
  #downSince = Date.now();
  #offlineTimer = 0;
  #waiting = 0;

  /**
   * @param {import('./api.js').Session} session
   * @param {{
   *   since: () => number,
   *   event: (name: string, payload: any, meta: {seq: number, id: string, at: string}) => void,
   *   connected: () => void,
   *   resync: (seq: number) => void,
   *   state: (state: 'live'|'reconnecting'|'offline') => void,
   *   ended: (code: string) => void,
   * }} on `since` is asked at every handshake: the seq of the last event handled.
   */
  constructor(session, on) {
    this.#session = session;
    this.#on = on;
    this.#socket = io({
      // Works whatever path the operator chose for other clients.
      path: '/api/socketio',
      forceNew: true,
      autoConnect: false,
      reconnectionDelay: 500,
      reconnectionDelayMax: 5_000,
      auth: (answer) => this.#authenticate(answer),
    });
    this.#listen();
  }

  open() {
    this.#down();
    this.#socket.connect();
  }

  close() {
    this.#closed.abort();
    clearTimeout(this.#offlineTimer);
    clearTimeout(this.#waiting);
    this.#socket.off();
    this.#socket.disconnect();
  }

  async #authenticate(answer) {
    const handshake = ++this.#handshake;
    const token = await this.#session.token();
    // The transport may have dropped and come back meanwhile; only the newest handshake answers.
    if (handshake !== this.#handshake || this.#closed.signal.aborted) return;
    this.#usedToken = token;
    answer({ token, since: this.#on.since() });
  }

  #listen() {
    const socket = this.#socket;
    socket.on('connected', () => {
      this.#connectedAt = Date.now();
      this.#downSince = 0;
      clearTimeout(this.#offlineTimer);
      this.#on.state('live');
      this.#on.connected();
    });
    for (const name of DURABLE_EVENTS) {
      socket.on(name, (payload, meta) => this.#on.event(name, payload, meta));
    }
    socket.on('resync', ({ seq }) => this.#on.resync(seq));
    socket.on('session-ended', ({ code }) => {
      if (code === 'token_expired') this.#tryAgain({ renew: true });
      else this.#on.ended(code);
    });
    socket.on('disconnect', (reason) => {
      this.#down();
      // The library comes back by itself from everything else.
      if (reason === 'io server disconnect') this.#tryAgain({ renew: false });
    });
    socket.on('connect_error', (error) => {
      this.#down();
      // `active` means that the library tries again by itself: the network, not a refusal.
      if (!socket.active) this.#tryAgain({ renew: TOKEN_REFUSALS.includes(error.message) });
    });
    const { signal } = this.#closed;
    addEventListener('offline', () => this.#down(), { signal });
    addEventListener('online', () => this.#hurry(), { signal });
  }

  /** Reconnects after the server said no: at once the first time, then slower and slower, to 30 s. */
  #tryAgain({ renew }) {
    if (this.#connectedAt && Date.now() - this.#connectedAt > STEADY_AFTER_MS) this.#setbacks = 0;
    this.#connectedAt = 0;
    const setback = this.#setbacks++;
    const wait = setback === 0 ? 0 : Math.min(30_000, 500 * 2 ** setback) * (0.75 + Math.random() / 2);
    this.#socket.disconnect();
    this.#down();
    clearTimeout(this.#waiting);
    this.#waiting = setTimeout(() => this.#reconnect(renew), wait);
  }

  async #reconnect(renew) {
    try {
      if (renew) await this.#session.renew(this.#usedToken);
    } catch {
      // Signed out: the session has said so and this object is closed. Otherwise: not now.
      if (!this.#closed.signal.aborted) this.#tryAgain({ renew });
      return;
    }
    if (!this.#closed.signal.aborted) this.#socket.connect();
  }

  #hurry() {
    if (!this.#downSince) return;
    this.#down();
    if (this.#socket.active) this.#socket.disconnect().connect();
  }

  #down() {
    if (this.#closed.signal.aborted) return;
    this.#downSince ||= Date.now();
    clearTimeout(this.#offlineTimer);
    const left = this.#downSince + OFFLINE_AFTER_MS - Date.now();
    const offline = !navigator.onLine || left <= 0;
    if (!offline) this.#offlineTimer = setTimeout(() => this.#down(), left);
    this.#on.state(offline ? 'offline' : 'reconnecting');
  }
}
