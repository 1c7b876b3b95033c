// One signed-in stay: loads the lists, follows the events, counts the badge, answers proposals.

import { Unreachable } from './api.js';
import { Live } from './live.js';
import { Records } from './records.js';

const PAGE = 'limit=50';
const TOAST_BATCH_MS = 250;

export class Desk {
  #session;
  #view;
  #live;
  #records;
  #closed = false;
  /** The seq up to which the page is true. */
  #seq = 0;
  /** Events that arrive while the lists are loading; null at other times. */
  #held = null;
  #loadAgain = false;
  #cursors = { prospects: null, proposals: null };
  #counting = false;
  #countAgain = false;
  #arrivals = [];
  #lookups = new Set();

  /**
   * @param {import('./api.js').Session} session
   * @param {import('./view.js').View} view
   * @param {(code: string) => void} ended the server ended the session
   */
  constructor(session, view, ended) {
    this.#session = session;
    this.#view = view;
    this.#records = new Records({
      prospect: (id, fresh) => this.#prospectChanged(id, fresh),
      proposal: (id, fresh) => this.#proposalChanged(id, fresh),
    });
    this.#live = new Live(session, {
      since: () => this.#seq,
      event: (...event) => this.#receive(event),
      connected: () => this.#recount(),
      resync: () => this.#load(),
      state: (state) => view.setConnection(state),
      ended,
    });
  }

  async start() {
    this.#view.setConnection('reconnecting');
    await this.#load();
    if (!this.#closed) this.#live.open();
  }

  close() {
    this.#closed = true;
    this.#live.close();
  }

  /** Accepts or rejects a proposal; `action` is the last part of the path. */
  async answer(id, action) {
    const path = `/api/proposals/${encodeURIComponent(id)}`;
    this.#view.setAnswering(id, true);
    try {
      const { body } = await this.#session.request('POST', `${path}/${action}`, {});
      if (this.#closed) return;
      this.#view.setAnswering(id, false);
      if (body?.appointmentId) this.#records.offerProposal(body);
    } catch (error) {
      if (this.#closed) return;
      this.#view.setAnswering(id, false, error.message);
      if (!(error instanceof Unreachable)) this.#reread(path);
    }
  }

  /** Loads the next page of one of the lists. */
  async more(list) {
    const cursor = encodeURIComponent(this.#cursors[list]);
    try {
      const { body } = await this.#session.get(`/api/${list}?${PAGE}&cursor=${cursor}`);
      if (this.#closed) return;
      this.#cursors[list] = body.nextCursor;
      if (list === 'prospects') this.#records.addProspects(body);
      else body.items.forEach((proposal) => this.#records.offerProposal(proposal));
      this.#view.setMore(this.#cursors);
    } catch (error) {
      if (!this.#closed) this.#view.toast('Could not load more', [error.message]);
    }
  }

  /** Loads everything anew, until it works. A call during a load makes it load once more. */
  async #load() {
    this.#loadAgain = true;
    if (this.#held) return;
    for (let failures = 0; this.#loadAgain && !this.#closed;) {
      this.#loadAgain = false;
      // Whatever is held now was committed before the lists are read.
      this.#held = [];
      try {
        await this.#loadOnce();
        this.#view.setProblem(null);
      } catch (error) {
        if (this.#closed) return;
        this.#loadAgain = true;
        this.#view.setProblem(`${error.message} Trying again…`);
        if (!navigator.onLine) this.#view.setConnection('offline');
        await sleep(Math.min(15_000, 1_000 * 2 ** failures++));
      }
    }
    this.#held = null;
  }

  async #loadOnce() {
    const [prospects, proposals] = await Promise.all([
      this.#session.get(`/api/prospects?${PAGE}`),
      this.#session.get(`/api/proposals?${PAGE}`),
    ]);
    if (this.#closed) return;
    this.#seq = Math.min(prospects.seq, proposals.seq);
    this.#cursors = { prospects: prospects.body.nextCursor, proposals: proposals.body.nextCursor };
    this.#records.replace(prospects.body, proposals.body);
    this.#view.setMore(this.#cursors);
    this.#view.showAll(this.#records);
    this.#records.proposals.forEach((proposal) => this.#lookUpProspectOf(proposal));
    this.#recount();
    const held = this.#held;
    this.#held = null;
    held.forEach((event) => this.#receive(event));
    this.#held = [];
  }

  #receive(event) {
    if (this.#held) {
      this.#held.push(event);
      return;
    }
    const [name, payload, meta] = event;
    if (meta.seq <= this.#seq) return;
    this.#records.apply(name, payload);
    this.#seq = meta.seq;
    if (name.startsWith('prospect:')) this.#recount();
    if (name === 'delivery-quarantined') {
      this.#view.toast('A delivery was held back', [payload.event, payload.reason], ': ');
    }
  }

  #prospectChanged(id, fresh) {
    const prospect = this.#records.prospects.get(id);
    this.#view.showProspect(id, prospect && this.#records.inTable(prospect) ? prospect : null, fresh);
    if (fresh) this.#ring(prospect);
  }

  #proposalChanged(id, fresh) {
    const proposal = this.#records.proposals.get(id);
    this.#view.showProposal(id, proposal, this.#records.prospects.get(proposal?.prospectId), fresh);
    if (proposal) this.#lookUpProspectOf(proposal);
  }

  /** One toast for prospects that arrive together: a burst must not talk over itself. */
  #ring(prospect) {
    if (this.#arrivals.push(prospect) > 1) return;
    setTimeout(() => {
      if (!this.#closed) this.#view.toastProspects(this.#arrivals);
      this.#arrivals = [];
    }, TOAST_BATCH_MS);
  }

  /** The badge is always counted by the server, at once, and once more when something happened meanwhile. */
  async #recount() {
    this.#countAgain = true;
    if (this.#counting) return;
    this.#counting = true;
    while (this.#countAgain && !this.#closed) {
      this.#countAgain = false;
      try {
        const { body } = await this.#session.get('/api/prospects/counts');
        if (!this.#closed) this.#view.setCounts(body);
        await sleep(200);
      } catch {
        this.#countAgain = true;
        await sleep(3_000);
      }
    }
    this.#counting = false;
  }

  /** A proposal may belong to a prospect older than the loaded pages. */
  async #lookUpProspectOf({ prospectId }) {
    if (this.#records.prospects.has(prospectId) || this.#lookups.has(prospectId)) return;
    this.#lookups.add(prospectId);
    try {
      const { body } = await this.#session.get(`/api/prospects/${encodeURIComponent(prospectId)}`);
      if (!this.#closed) this.#records.offerProspect(body);
    } catch {
      // The card then shows the booking without a name.
    }
    this.#lookups.delete(prospectId);
  }

  async #reread(path) {
    try {
      const { body } = await this.#session.get(path);
      if (!this.#closed) this.#records.offerProposal(body);
    } catch {
      // What the refused answer said is on the card already.
    }
  }
}

function sleep(ms) {
  return new Promise((resolve) => { setTimeout(resolve, ms); });
}
