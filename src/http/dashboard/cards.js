// A prospect's row and a proposal's card: how they are built once, and filled again at every change.

import { el, part, setText, setTexts } from './dom.js';
import {
  STATUS_LABELS, VIEWER_ZONE, ago, exactly, fullName, mailto, slot, tel, webAddress, zoneName,
} from './format.js';

function setLink(node, text, href) {
  if (node.textContent === text) return;
  // A long address breaks after its @ rather than anywhere.
  const at = text.lastIndexOf('@') + 1;
  node.replaceChildren(...(text ? [el('a', { href, dir: 'auto' }, text.slice(0, at), el('wbr'), text.slice(at))] : []));
}

// Prospect rows

export function newRow(id) {
  const cell = (name) => el('td', { role: 'cell', 'data-part': name, className: name });
  const row = el('tr', { role: 'row', 'data-id': id },
    ...['name', 'email', 'phone', 'company', 'status', 'created'].map(cell));
  part(row, 'name').append(el('div', { className: 'name-line' },
    el('span', { 'data-part': 'name-text', dir: 'auto' }),
    el('span', { 'data-part': 'unassigned', className: 'tag', hidden: true }, 'Unassigned')));
  part(row, 'company').dir = 'auto';
  part(row, 'status').append(el('span', { className: 'pill' }));
  part(row, 'created').append(el('time', { 'data-ago': '' }));
  return row;
}

export function fillRow(row, prospect) {
  row.dataset.status = prospect.status;
  setText(part(row, 'name-text'), fullName(prospect));
  part(row, 'unassigned').hidden = prospect.ownerId !== null;
  setLink(part(row, 'email'), prospect.email ?? '', mailto(prospect.email ?? ''));
  setLink(part(row, 'phone'), prospect.phone ?? '', tel(prospect.phone ?? ''));
  setText(part(row, 'company'), prospect.company ?? '');
  fillPill(part(row, 'status').firstElementChild, prospect.status);
  const created = part(row, 'created').firstElementChild;
  created.dateTime = prospect.createdAt;
  created.title = exactly(prospect.createdAt);
  setText(created, ago(prospect.createdAt));
}

function fillPill(pill, status) {
  pill.dataset.tone = status;
  setText(pill, STATUS_LABELS[status] ?? status);
}

// Proposal cards

export function newCard(id, answer) {
  const titleId = `proposal-${id}`;
  const card = el('div', { role: 'listitem', className: 'card', tabIndex: -1, 'data-id': id, 'aria-labelledby': titleId },
    el('div', { className: 'card-head' },
      el('span', { className: 'pill', 'data-part': 'status' }),
      el('span', { className: 'tag', 'data-part': 'unassigned', hidden: true }, 'Unassigned')),
    el('h3', { id: titleId, 'data-part': 'title', dir: 'auto' }),
    el('p', { className: 'with', 'data-part': 'prospect' }),
    el('dl', { className: 'times' },
      el('div', {}, el('dt', {}, 'Your time'), el('dd', { 'data-part': 'mine' })),
      el('div', { 'data-part': 'theirs-box' }, el('dt', { 'data-part': 'zone' }), el('dd', { 'data-part': 'theirs' }))),
    el('p', { className: 'place', 'data-part': 'place', dir: 'auto' }),
    el('p', { className: 'why', 'data-part': 'why' }),
    el('p', { className: 'error', 'data-part': 'error', role: 'alert', hidden: true }),
    el('div', { className: 'actions', 'data-part': 'actions' },
      answerButton(id, 'accept', 'Accept', 'primary', titleId, answer),
      answerButton(id, 'reject', 'Reject', '', titleId, answer)));
  return card;
}

function answerButton(id, action, label, look, describedBy, answer) {
  const button = el('button', { type: 'button', className: `button ${look}`.trim(), 'data-action': action, 'aria-describedby': describedBy }, label);
  button.addEventListener('click', () => {
    if (button.getAttribute('aria-disabled') !== 'true') answer(id, action);
  });
  return button;
}

export function fillCard(card, proposal, prospect) {
  card.dataset.status = proposal.status;
  fillPill(part(card, 'status'), proposal.status);
  part(card, 'unassigned').hidden = proposal.ownerId !== null;
  setText(part(card, 'title'), proposal.title || 'Meeting');
  setTexts(part(card, 'prospect'), prospect ? [fullName(prospect), prospect.company] : [], ' · ');
  fillTimes(card, proposal);
  fillPlace(part(card, 'place'), proposal.location);
  setTexts(part(card, 'why'), reason(proposal), ': ');
  const actions = part(card, 'actions');
  const hide = proposal.status !== 'pending';
  // The button that was pressed goes away: the focus stays on its card.
  if (hide && actions.contains(document.activeElement)) card.focus({ preventScroll: true });
  actions.hidden = hide;
}

function fillTimes(card, { startTime, endTime, timezone }) {
  const mine = slot(startTime, endTime, VIEWER_ZONE);
  const theirs = timezone ? slot(startTime, endTime, timezone) : null;
  fillSlot(part(card, 'mine'), mine);
  part(card, 'theirs-box').hidden = !theirs;
  if (!theirs) return;
  setText(part(card, 'zone'), zoneName(timezone));
  fillSlot(part(card, 'theirs'), theirs);
}

function fillSlot(node, slot) {
  const text = slot ? `${slot.day} ${slot.hours}` : '';
  if (node.textContent === text) return;
  node.replaceChildren(...(slot
    ? [el('span', { className: 'day' }, slot.day), ' ', el('span', { className: 'hours' }, slot.hours)]
    : []));
}

function fillPlace(node, location) {
  const text = location?.value ?? '';
  const url = webAddress(text);
  if (node.dataset.value === text) return;
  node.dataset.value = text;
  // The host name is shown, not a text of the booker's choice: one sees where the link goes.
  node.replaceChildren(url
    ? el('a', { href: url.href, target: '_blank', rel: 'noopener noreferrer' }, url.host)
    : text);
}

function reason({ cancellation, status }) {
  if (status !== 'canceled' || !cancellation) return [];
  return [cancellation.name ? `Canceled by ${cancellation.name}` : 'Canceled', cancellation.reason];
}
