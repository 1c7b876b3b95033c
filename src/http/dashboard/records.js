// What the page knows: prospects and proposals by id, kept true by the durable events.

/** Newest first, down to the id, as the API orders prospects. */
export function newestFirst(a, b) {
  return compare(b.createdAt, a.createdAt) || compare(b.id ?? b.appointmentId, a.id ?? a.appointmentId);
}

function compare(a, b) {
  return a < b ? -1 : a > b ? 1 : 0;
}

export class Records {
  prospects = new Map();
  proposals = new Map();
  /** The last prospect of the pages loaded so far; null when there are no older ones. */
  #floor = null;
  /** Deleted ids: an answer that was on its way when the deletion came must not bring them back. */
  #gone = new Set();
  #changed;

  /** @param {{prospect: (id: string, fresh?: boolean) => void, proposal: (id: string, fresh?: boolean) => void}} changed */
  constructor(changed) {
    this.#changed = changed;
  }

  /** Starts over from freshly loaded lists. */
  replace(prospects, proposals) {
    this.#gone.clear();
    this.prospects = new Map(prospects.items.map((prospect) => [prospect.id, prospect]));
    this.proposals = new Map(proposals.items.map((proposal) => [proposal.appointmentId, proposal]));
    this.#setFloor(prospects);
  }

  /** Adds an older page of prospects. */
  addProspects(page) {
    this.#setFloor(page);
    page.items.forEach((prospect) => this.offerProspect(prospect));
  }

  /** Whether a prospect belongs to the pages loaded so far. */
  inTable(prospect) {
    return !this.#floor || newestFirst(prospect, this.#floor) <= 0;
  }

  /** Takes a prospect from an HTTP answer, unless an event already told something newer. */
  offerProspect(prospect) {
    if (this.#isStale(prospect.id, this.prospects, prospect)) return;
    this.prospects.set(prospect.id, prospect);
    this.#prospectChanged(prospect.id);
  }

  /** Takes a proposal from an HTTP answer, unless an event already told something newer. */
  offerProposal(proposal) {
    if (this.#isStale(proposal.appointmentId, this.proposals, proposal)) return;
    this.proposals.set(proposal.appointmentId, proposal);
    this.#changed.proposal(proposal.appointmentId);
  }

  /** Applies one durable event. Applying an event again changes nothing. */
  apply(name, payload) {
    switch (name) {
      case 'prospect:created':
      case 'prospect:updated':
        return this.#putProspect(payload, name === 'prospect:created');
      case 'prospect:deleted':
        return this.#dropProspect(payload.id);
      case 'proposal-created':
      case 'proposal-updated':
        return this.#putProposal(payload);
      case 'proposal-status-changed':
        return this.#putProposal(payload.proposal);
      case 'proposal-deleted':
        return this.#dropProposal(payload.appointmentId);
    }
  }

  #putProspect(prospect, created) {
    const fresh = created && !this.prospects.has(prospect.id);
    this.#gone.delete(prospect.id);
    this.prospects.set(prospect.id, prospect);
    // A prospect takes its proposals along to another owner; admins hear of it in this event only.
    for (const proposal of this.#proposalsOf(prospect.id)) proposal.ownerId = prospect.ownerId;
    this.#prospectChanged(prospect.id, fresh);
  }

  #dropProspect(id) {
    this.#gone.add(id);
    this.prospects.delete(id);
    this.#changed.prospect(id);
    // The former owner of a reassigned prospect hears nothing else about its proposals.
    for (const proposal of this.#proposalsOf(id)) this.#dropProposal(proposal.appointmentId);
  }

  #putProposal(proposal) {
    const known = this.proposals.get(proposal.appointmentId);
    this.#gone.delete(proposal.appointmentId);
    this.proposals.set(proposal.appointmentId, proposal);
    const moved = known && known.startTime !== proposal.startTime;
    this.#changed.proposal(proposal.appointmentId, !known || moved);
  }

  #dropProposal(id) {
    this.#gone.add(id);
    this.proposals.delete(id);
    this.#changed.proposal(id);
  }

  #prospectChanged(id, fresh) {
    this.#changed.prospect(id, fresh);
    for (const proposal of this.#proposalsOf(id)) this.#changed.proposal(proposal.appointmentId);
  }

  #proposalsOf(prospectId) {
    return [...this.proposals.values()].filter((proposal) => proposal.prospectId === prospectId);
  }

  #isStale(id, known, offered) {
    return this.#gone.has(id) || known.get(id)?.updatedAt > offered.updatedAt;
  }

  #setFloor(page) {
    this.#floor = page.nextCursor ? page.items.at(-1) : null;
  }
}
