// What arrives while the page is open: one toast for what comes together, the bell, a notification, a word.

import { notify, ringFor } from './bell.js';
import { fullName, hasMoved } from './format.js';
import { t, word } from './i18n.js';
import { prospectById } from './people.js';
import { href } from './store.js';
import { onEvents } from './sync.js';
import { dismissAll, toast } from './toasts.js';

/** What comes within this time is told together; and so much time lies between one telling and the next. */
const TOGETHER_MS = 250;
const APART_MS = 2_000;
const HALF_MS = 2_000;

/** What this page did itself in the last moments is no news to it. */
const own = new Set();
/** The moves of the last minute, and cancellations that may be half of one: their timers. */
const moves = new Set();
const held = new Map();
let waiting = [];
let timer = 0;
let toldAt = 0;

export function didMyself(id) {
  own.add(id);
  setTimeout(() => own.delete(id), 10_000);
}

onEvents((events) => events.forEach((event) => {
  if (isMove(event)) return tellMove(event);
  if (event.name === 'proposal-status-changed' && event.payload.status === 'canceled') return holdBack(event);
  if (isNews(event)) tell(event);
}));

function tell(event) {
  waiting.push(event);
  timer ||= setTimeout(tellTogether, Math.max(TOGETHER_MS, toldAt + APART_MS - Date.now()));
}

/** To another time. A person cannot make it pending again, so with that it is one, whatever was known of it. */
function isMove({ name, payload, known }) {
  const proposal = payload.proposal ?? payload;
  if (proposal.status !== 'pending' || !hasMoved(proposal)) return false;
  return name === 'proposal-status-changed' || (name === 'proposal-updated' && known !== null && known.startTime !== proposal.startTime);
}

function tellMove(event) {
  const { appointmentId, startTime } = event.payload.proposal ?? event.payload;
  takeBack(appointmentId);
  // Its halves come in any order, and with two events.
  const move = `${appointmentId} ${startTime}`;
  if (moves.has(move)) return;
  moves.add(move);
  setTimeout(() => moves.delete(move), 60_000);
  tell({ ...event, moved: true });
}

/** A cancellation may be half of a move: the other half often comes a moment later. */
function holdBack(event) {
  const { appointmentId } = event.payload;
  takeBack(appointmentId);
  held.set(appointmentId, setTimeout(() => {
    held.delete(appointmentId);
    tell(event);
  }, HALF_MS));
}

function takeBack(appointmentId) {
  clearTimeout(held.get(appointmentId));
  held.delete(appointmentId);
}

/** Takes back what has been told and what waits to be: the one whom it is for has gone. */
export function forgetArrivals() {
  clearTimeout(timer);
  timer = 0;
  waiting = [];
  [...held.keys()].forEach(takeBack);
  moves.clear();
  own.clear();
  dismissAll();
}

function isNews({ name, payload }) {
  if (name === 'proposal-status-changed') return payload.status === 'no_show';
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
  const others = events.filter(({ name, payload }) => name !== 'prospect:created' && !(name === 'proposal-created' && fresh.has(payload.prospectId)));
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

function tellOther({ name, payload, moved }) {
  if (name === 'delivery-quarantined') {
    toast(t('toast.held'), [payload.event ?? '', word('reason', payload.reason)], href('deliveries', payload.deliveryId));
    return;
  }
  const proposal = payload.proposal ?? payload;
  const prospect = prospectById(proposal.prospectId).peek();
  const title = t(name === 'proposal-created' ? 'toast.booking' : `toast.${moved ? 'moved' : payload.status}`);
  const texts = [prospect ? fullName(prospect) : '', proposal.title];
  toast(title, texts, href('prospects', proposal.prospectId));
  notify(proposal.appointmentId, title, texts.filter(Boolean).join(' · '), 'prospects', proposal.prospectId);
}
