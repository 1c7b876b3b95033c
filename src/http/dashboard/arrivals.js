// What arrives while the page is open: one toast for what comes together, the bell, a notification, a word.

import { notify, ringFor } from './bell.js';
import { fullName } from './format.js';
import { t, word } from './i18n.js';
import { prospectById } from './people.js';
import { href } from './store.js';
import { onEvents } from './sync.js';
import { dismissAll, toast } from './toasts.js';

/** What comes within this time is told together; and so much time lies between one telling and the next. */
const TOGETHER_MS = 250;
const APART_MS = 2_000;

/** What this page did itself in the last moments is no news to it. */
const own = new Set();
let waiting = [];
let timer = 0;
let toldAt = 0;

export function didMyself(id) {
  own.add(id);
  setTimeout(() => own.delete(id), 10_000);
}

onEvents((events) => {
  const news = events.filter(isNews);
  if (news.length === 0) return;
  waiting.push(...news);
  timer ||= setTimeout(tellTogether, Math.max(TOGETHER_MS, toldAt + APART_MS - Date.now()));
});

/** Takes back what has been told and what waits to be: the one whom it is for has gone. */
export function forgetArrivals() {
  clearTimeout(timer);
  timer = 0;
  waiting = [];
  own.clear();
  dismissAll();
}

function isNews({ name, payload }) {
  if (name === 'proposal-status-changed') return ['canceled', 'no_show'].includes(payload.status);
  return name === 'prospect:created' || name === 'proposal-created' || name === 'delivery-quarantined';
}

function tellTogether() {
  const events = waiting.filter(({ payload }) => !own.has(payload.id) && !own.has(payload.appointmentId));
  waiting = [];
  timer = 0;
  toldAt = Date.now();
  const prospects = events.filter(({ name }) => name === 'prospect:created').map(({ payload }) => payload);
  const fresh = new Set(prospects.map(({ id }) => id));
  // A new prospect's booking is the same news.
  const others = events.filter(({ name, payload }) => name !== 'prospect:created' && !fresh.has(payload.prospectId));
  if (prospects.length) tellProspects(prospects);
  others.slice(-2).forEach(tellOther);
  if (prospects.length || others.some(({ name }) => name === 'proposal-created')) {
    ringFor(events[0].meta.id);
  }
}

function tellProspects(prospects) {
  const [first] = prospects;
  if (prospects.length === 1) {
    toast(t('toast.prospect'), [fullName(first), first.company], href('prospects', first.id));
    notify(first.id, t('toast.prospect'), [fullName(first), first.company].filter(Boolean).join(' · '), 'prospects', first.id);
    return;
  }
  const names = prospects.slice(0, 3).map(fullName);
  const title = t('toast.prospects', { n: prospects.length });
  toast(title, names, href('prospects'));
  notify(first.id, title, names.join(', '), 'prospects');
}

function tellOther({ name, payload }) {
  if (name === 'delivery-quarantined') {
    toast(t('toast.held'), [payload.event ?? '', word('reason', payload.reason)], href('deliveries', payload.deliveryId));
    return;
  }
  const proposal = payload.proposal ?? payload;
  const prospect = prospectById(proposal.prospectId).peek();
  const title = t(name === 'proposal-created' ? 'toast.booking' : `toast.${payload.status}`);
  const texts = [prospect ? fullName(prospect) : '', proposal.title];
  toast(title, texts, href('prospects', proposal.prospectId));
  notify(proposal.appointmentId, title, texts.filter(Boolean).join(' · '), 'prospects', proposal.prospectId);
}
