// The HTTP side of the API: one session that keeps itself alive, and the requests made in its name.

import { clock } from './clock.js';

const REFRESH_LOCK = 'bookbell-refresh';
const TRADE_STARTED = 'bookbell-refresh-started';
const TRADE_MS = 1_500;
/** Longer than what one tab stores takes to reach the others. */
const SETTLE_MS = 200;
/** What this page is called among those of the browser. (`randomUUID` exists on HTTPS and on localhost only, too.) */
const PAGE = String(Math.random());
const TIMEOUT_MS = 20_000;
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** The server answered, with an error; `message` is the problem's `detail`. */
export class ApiError extends Error {
  constructor(status, problem) {
    super(problem?.detail || problem?.title || `The server answered ${status}.`);
    this.status = status;
    this.code = problem?.code ?? null;
    /** Which fields are at fault: `[{field, message}]`. */
    this.fields = problem?.errors ?? [];
    this.problem = problem;
  }
}

/** No answer came: the network or the server is away. Trying again later makes sense. */
export class Unreachable extends Error {
  constructor() {
    super('Bookbell cannot be reached at the moment.');
  }
}

/** Who is signed in. The access token lives in this object only; the refresh token in an HttpOnly cookie. */
export class Session {
  user = null;
  #token = null;
  #staleAt = 0;
  #timer = 0;
  #refreshing = null;
  #onEnded;

  /** @param {{onEnded: () => void}} handlers `onEnded` runs when the server no longer knows the session. */
  constructor({ onEnded }) {
    this.#onEnded = onEnded;
    // Timers sleep with the machine: look again when the page is looked at.
    document.addEventListener('visibilitychange', () => {
      if (document.visibilityState === 'visible') this.#refreshIfStale();
    });
    addEventListener('online', () => this.#refreshIfStale());
  }

  async signIn(email, password) {
    this.#keep(await oneTabAtATime(() => send('POST', '/api/auth/login', { email, password })));
  }

  /** Takes up the session a former page left in the cookie; false when there is none. */
  async resume() {
    try {
      await this.refresh();
      this.user ??= (await this.get('/api/auth/me')).body;
      return true;
    } catch (error) {
      if (isRefusal(error)) return false;
      throw error;
    }
  }

  /** Ends the session on the server; throws (and stays signed in) when the server cannot be told. */
  async signOut() {
    await this.#refreshing?.catch(() => {});
    try {
      await this.request('POST', '/api/auth/logout', {});
    } catch (error) {
      if (!isRefusal(error)) throw error;
    }
    this.#forget();
  }

  /** Forgets the session that the server has ended. */
  drop() {
    this.#forget();
  }

  /** The access token, renewed first when it is about to expire. */
  async token() {
    if (this.#token && Date.now() >= this.#staleAt) {
      await this.refresh().catch(() => {});
    }
    return this.#token;
  }

  /** Makes sure the token is another one than `used`, which was refused. */
  async renew(used) {
    if (this.#token === used) await this.refresh();
  }

  /** Trades the cookie for a new token. Callers in this tab share one request, tabs take turns. */
  refresh() {
    this.#refreshing ??= this.#rotate().finally(() => { this.#refreshing = null; });
    return this.#refreshing;
  }

  /**
   * One authorised request; a refused token is renewed once.
   * `ifMatch` is the ETag of the record that was read: 412 says that it has changed since.
   * @returns {Promise<{body: any, seq: number, etag: string|null, date: number}>}
   */
  async request(method, path, body, { ifMatch } = {}) {
    const used = await this.token();
    try {
      return await send(method, path, body, used, ifMatch);
    } catch (error) {
      if (!(error instanceof ApiError) || error.status !== 401) throw error;
    }
    await this.renew(used);
    return send(method, path, body, this.#token, ifMatch);
  }

  get(path) {
    return this.request('GET', path);
  }

  async #rotate() {
    try {
      this.#keep(await oneTabAtATime(() => send('POST', '/api/auth/refresh', {})));
    } catch (error) {
      if (isRefusal(error)) {
        const wasSignedIn = this.user !== null;
        this.#forget();
        if (wasSignedIn) this.#onEnded();
      } else {
        this.#schedule(15_000);
      }
      throw error;
    }
  }

  #keep({ body, date }) {
    // Another tab may have signed in as somebody else; this page still shows the former user's records.
    if (this.user && body.user && body.user.id !== this.user.id) location.reload();
    this.user = body.user ?? this.user;
    this.#token = body.token;
    // Both times are the server's, so a wrong clock on this machine does not matter.
    const lifetime = Date.parse(body.expiresAt) - date;
    const lead = Math.min(60_000, lifetime / 2);
    this.#staleAt = Date.now() + lifetime - lead;
    this.#schedule(lifetime - lead);
  }

  #forget() {
    clearTimeout(this.#timer);
    this.user = null;
    this.#token = null;
  }

  #schedule(delay) {
    clearTimeout(this.#timer);
    if (!this.#token) return;
    this.#timer = setTimeout(() => this.refresh().catch(() => {}), Math.min(Math.max(delay, 1_000), LONGEST_TIMER_MS));
  }

  #refreshIfStale() {
    if (this.#token && Date.now() >= this.#staleAt) this.refresh().catch(() => {});
  }
}

let leaving = false;
// A page that goes away sees its requests fail, and the mark must outlive it.
addEventListener('pagehide', () => { leaving = true; });
addEventListener('pageshow', () => { leaving = false; });

/** A refresh token works once: two tabs, or a page and its reload, that send the same one would end the session. */
function oneTabAtATime(task) {
  // Web Locks exist on HTTPS and on localhost only.
  return navigator.locks ? navigator.locks.request(REFRESH_LOCK, () => trade(task)) : trade(task);
}

async function trade(task) {
  do {
    await othersDone();
    mark();
    // Without a lock another tab may have found no mark either: the last to write its own goes, the others look again.
    if (!navigator.locks) await sleep(SETTLE_MS);
  } while (!isMarked());
  // It says that this page is still there, however long it has slept, and however long the answer takes.
  mark();
  const timer = setInterval(() => isMarked() && mark(), TRADE_MS / 3);
  try {
    return await task();
  } finally {
    clearInterval(timer);
    if (!leaving && isMarked()) localStorage.removeItem(TRADE_STARTED);
  }
}

/** Which page trades, and since when: `{page, at}`. */
function marked() {
  const [page, at] = (localStorage.getItem(TRADE_STARTED) ?? '').split(' ');
  return { page, at: Number(at) };
}

const mark = () => localStorage.setItem(TRADE_STARTED, `${PAGE} ${Date.now()}`);
const isMarked = () => marked().page === PAGE;

/**
 * Waits while another page trades. One that went away in the middle of it has left its mark, and its answer gets time
 * to set the cookie.
 */
async function othersDone() {
  for (;;) {
    const { page, at } = marked();
    const age = Date.now() - at;
    if (!(page && page !== PAGE && age >= 0 && age < TRADE_MS)) return;
    await sleep(50 + Math.random() * 100);
  }
}

function sleep(ms) {
  return new Promise((resolve) => { setTimeout(resolve, ms); });
}

/** The server said no for good, as against "not now". */
export function isRefusal(error) {
  return error instanceof ApiError && error.status < 500 && error.status !== 408 && error.status !== 429;
}

async function send(method, path, body, token, ifMatch) {
  const headers = { accept: 'application/json' };
  if (token) headers.authorization = `Bearer ${token}`;
  if (body !== undefined) headers['content-type'] = 'application/json';
  if (ifMatch) headers['if-match'] = ifMatch;
  const asked = Date.now();
  let response;
  let text;
  try {
    response = await fetch(path, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      credentials: 'same-origin',
      cache: 'no-store',
      // A reload in the middle of a refresh must not lose the cookie that its answer sets.
      keepalive: path.startsWith('/api/auth/'),
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    text = await response.text();
  } catch {
    throw new Unreachable();
  }
  clock.observe(asked, Date.now(), response.headers.get('date'));
  const json = parse(text);
  if (!response.ok) throw new ApiError(response.status, json);
  return {
    body: json,
    seq: Number(response.headers.get('bookbell-seq')),
    etag: response.headers.get('etag'),
    date: Date.parse(response.headers.get('date') ?? '') || Date.now(),
  };
}

function parse(text) {
  try {
    return text ? JSON.parse(text) : null;
  } catch {
    return null;
  }
}
