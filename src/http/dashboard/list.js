// One list of the API on the page: its loaded pages in order, kept true by events, without doubles.

import { signal } from '@preact/signals';
import { comparison } from './filter.js';
import { read } from './session.js';

const FRESH_MS = 6_000;
const MOST_FRESH = 12;

export const idOfProspect = (prospect) => prospect.id;
export const idOfProposal = (proposal) => proposal.appointmentId;

export class List {
  /** The loaded records in the list's order. Read it only after `version`, which says that it changed. */
  items = [];
  version = signal(0);
  /** 'loading', 'ready' or 'failed' (then `error` says why). */
  state = signal('loading');
  error = null;
  /** The position in the log at which the first page was read; Infinity before that. */
  seq = Infinity;
  /** How many there are on all pages, as the server last counted. */
  total = signal(0);
  /** Counts what was asked: another filter or order is another list, and one begins at its top. */
  question = 0;
  /** Ids that arrived a moment ago, with the time. */
  fresh = new Map();

  #kind;
  #idOf;
  #path;
  #query;
  #wanted;
  #compare;
  #byId = new Map();
  /** Deleted ids: an answer that was on its way when the deletion came must not bring them back. */
  #gone = new Set();
  #cursor = null;
  /** The last record of the loaded pages while there are more: what sorts behind it is not loaded yet. */
  #floor = null;
  /** Counts loads, so that the answer to an older question is not taken for the newer's. */
  #load = 0;
  /** Events that came while the next page was on its way, and were applied at once; null at other times. */
  #meanwhile = null;
  /** Events that came while the first page was on its way; null at other times. */
  #held = null;
  #dirty = false;

  /**
   * @param {{kind: 'prospect'|'proposal'|'delivery', path: string, query: URLSearchParams,
   *   wanted?: (record: object) => boolean, idOf?: (record: object) => string}} of
   *   `wanted` says which records the query asks for; the order is the query's `sort`.
   */
  constructor({ kind, path, query, wanted = () => true, idOf = (record) => record.id }) {
    this.#kind = kind;
    this.#path = path;
    this.#idOf = idOf;
    this.ask(query, wanted);
  }

  get hasMore() {
    return this.#cursor !== null;
  }

  get(id) {
    return this.#byId.get(id);
  }

  indexOf(id) {
    const record = this.#byId.get(id);
    if (!record) return -1;
    const { index, found } = this.#find(record);
    return found ? index : -1;
  }

  /** Asks something else; `load` gets the answer. */
  ask(query, wanted = () => true) {
    this.question += 1;
    this.#query = query;
    this.#wanted = wanted;
    this.#compare = comparison(query.get('sort') ?? '-receivedAt', this.#idOf);
  }

  /** Loads the first page anew. Answers the position it was read at; throws when there is no answer. */
  async load() {
    const load = ++this.#load;
    this.#held ??= [];
    if (this.state.value !== 'ready') this.state.value = 'loading';
    let answer;
    try {
      answer = await read(`${this.#path}?${this.#query}`);
    } catch (error) {
      if (load === this.#load) {
        this.#release();
        this.error = error;
        this.state.value = 'failed';
      }
      throw error;
    }
    if (load !== this.#load) return answer.seq;
    this.seq = answer.seq;
    this.#replace(answer.body);
    return answer.seq;
  }

  #replace(page) {
    this.#gone.clear();
    this.#byId.clear();
    this.items = page.items;
    page.items.forEach((record) => this.#byId.set(this.#idOf(record), record));
    this.#page(page);
    this.#release();
    this.state.value = 'ready';
    this.#dirty = true;
    this.flush();
  }

  /** Applies the events that waited for an answer. */
  #release() {
    const held = this.#held;
    this.#held = null;
    held.forEach(([change, ...rest]) => this[change](...rest));
  }

  #page({ items, nextCursor, total }) {
    this.#cursor = nextCursor;
    this.#floor = nextCursor ? items.at(-1) : null;
    this.total.value = total;
  }

  /** Loads the next page, if there is one and it is not on its way already. */
  async more() {
    if (!this.#cursor || this.#meanwhile) return;
    this.#meanwhile = [];
    const load = this.#load;
    try {
      const query = new URLSearchParams(this.#query);
      query.set('cursor', this.#cursor);
      const { body } = await read(`${this.#path}?${query}`);
      if (load !== this.#load) return;
      this.#add(body);
    } finally {
      this.#meanwhile = null;
    }
  }

  /**
   * The page may have been read before what came meanwhile, some of which had no place until now: that is
   * applied once more behind it.
   */
  #add(page) {
    const meanwhile = this.#meanwhile;
    this.#meanwhile = null;
    this.#page(page);
    page.items.forEach((record) => this.#offer(record));
    meanwhile.forEach(([change, ...rest]) => this[change](...rest));
    this.#dirty = true;
    this.flush();
  }

  /** Keeps a change for when an answer that is on its way has come. True when it has to wait until then. */
  #waits(...change) {
    this.#meanwhile?.push(change);
    this.#held?.push(change);
    return this.#held !== null;
  }

  /** Asks for the first page again and makes the list say the same: for records that no event tells of. */
  async refresh() {
    if (this.state.value === 'failed') {
      await this.load();
      return;
    }
    const [load, version] = [this.#load, this.version.peek()];
    const { body } = await read(`${this.#path}?${this.#query}`);
    // What has changed the list meanwhile may be newer than this answer.
    if (load !== this.#load || version !== this.version.peek()) return;
    const fresh = body.items.filter((record) => !this.#byId.has(this.#idOf(record)));
    // More came than a page holds: what lies between is not known, so start over.
    if (fresh.length === body.items.length && this.items.length > 0) {
      await this.load();
      return;
    }
    this.#missingIn(body).forEach((record) => this.remove(this.#idOf(record)));
    const changed = body.items.filter((record) => JSON.stringify(this.#byId.get(this.#idOf(record))) !== JSON.stringify(record));
    changed.forEach((record) => this.put(record, true));
    this.total.value = body.total;
    this.flush();
  }

  /** What is on this page of the list no longer: it has left the filter. */
  #missingIn({ items, nextCursor }) {
    const ids = new Set(items.map(this.#idOf));
    const covers = (record) => nextCursor === null || this.#compare(record, items.at(-1)) <= 0;
    return this.items.filter((record) => !ids.has(this.#idOf(record)) && covers(record));
  }

  /** Takes a record from an answer, unless an event has told something newer already. */
  #offer(record) {
    const id = this.#idOf(record);
    const known = this.#byId.get(id);
    if (this.#gone.has(id) || (known && known.updatedAt >= record.updatedAt)) return;
    this.put(record);
  }

  /** Takes a record as it is now. `arrived`: it was made a moment ago. Applying it again changes nothing. */
  put(record, arrived = false) {
    if (this.#waits('put', record, arrived)) return;
    const id = this.#idOf(record);
    const known = this.#byId.get(id);
    if (known && known.updatedAt > record.updatedAt) return;
    this.#gone.delete(id);
    this.#take(id, known);
    if (this.#wanted(record) && this.#isLoaded(record)) {
      this.items.splice(this.#find(record).index, 0, record);
      this.#byId.set(id, record);
      if (arrived && !known) this.#freshen(id);
    } else if (!known) {
      return;
    }
    this.#dirty = true;
  }

  remove(id) {
    if (this.#waits('remove', id)) return;
    this.#gone.add(id);
    const known = this.#byId.get(id);
    if (!known) return;
    this.#take(id, known);
    this.#dirty = true;
  }

  /** Applies one durable event of the log, if it is about this kind of record. */
  apply(kind, change) {
    if (kind !== this.#kind) return;
    if (change.record) this.put(change.record, change.arrived);
    else this.remove(change.id);
  }

  /** A prospect that is gone takes its proposals along. */
  dropProspect(prospectId) {
    if (this.#kind !== 'proposal' || this.#waits('dropProspect', prospectId)) return;
    const gone = this.items.filter((proposal) => proposal.prospectId === prospectId);
    gone.forEach((proposal) => this.remove(this.#idOf(proposal)));
  }

  /** Tells the views, once for all changes since the last time. */
  flush() {
    if (!this.#dirty) return;
    this.#dirty = false;
    this.version.value += 1;
  }

  #take(id, known) {
    if (!known) return;
    const { index, found } = this.#find(known);
    if (found) this.items.splice(index, 1);
    this.#byId.delete(id);
  }

  #isLoaded(record) {
    return !this.#floor || this.#compare(record, this.#floor) <= 0;
  }

  #find(record) {
    let low = 0;
    let high = this.items.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      const order = this.#compare(this.items[middle], record);
      if (order === 0) return { index: middle, found: true };
      if (order < 0) low = middle + 1;
      else high = middle;
    }
    return { index: low, found: false };
  }

  #freshen(id) {
    // In a flood nothing stands out, and marking everything would cost what scrolling needs.
    if (this.fresh.size >= MOST_FRESH) return;
    this.fresh.set(id, Date.now());
    setTimeout(() => this.fresh.delete(id), FRESH_MS);
  }
}
