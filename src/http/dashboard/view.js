// The page: its screens, header, lists and toasts. Whatever a booker typed becomes text, never markup.

import { fillCard, fillRow, newCard, newRow } from './cards.js';
import { Sorted, byId, el, part, setText, setTexts } from './dom.js';
import { VIEWER_ZONE, ago, fullName, wholeNumber, zoneName } from './format.js';

const FRESH_MS = 8_000;
const TOAST_MS = 7_000;
const MOST_TOASTS = 3;
const CONNECTION_WORDS = {
  live: ['Live', 'New bookings appear by themselves.'],
  reconnecting: ['Reconnecting…', 'The page shows what was known last. Whatever is missed meanwhile follows.'],
  offline: ['Offline', 'Bookbell cannot be reached. The page keeps trying and catches up by itself.'],
};

export class View {
  #on;
  #rows = new Sorted(byId('prospects'));
  #cards = new Sorted(byId('proposals'));
  #cursors = { prospects: null, proposals: null };
  #loaded = false;
  #announceTimer = 0;

  /**
   * @param {{
   *   signIn: (email: string, password: string) => Promise<void>,
   *   signOut: () => Promise<void>,
   *   answer: (id: string, action: 'accept'|'reject') => Promise<void>,
   *   more: (list: 'prospects'|'proposals') => Promise<void>,
   * }} on
   */
  constructor(on) {
    this.#on = on;
    this.#wireSignIn();
    this.#wireEmptyState();
    byId('sign-out').addEventListener('click', () => on.signOut());
    byId('more-prospects').addEventListener('click', () => on.more('prospects'));
    byId('more-proposals').addEventListener('click', () => on.more('proposals'));
    setText(byId('zone'), `Times in ${zoneName(VIEWER_ZONE)}`);
    setInterval(() => this.#tick(), 30_000);
  }

  // Screens

  showSplash(text) {
    setText(byId('splash'), text);
    this.#only('splash');
  }

  showSignIn({ notice = '', email = '' } = {}) {
    this.#reset();
    this.#only('sign-in');
    setText(byId('login-notice'), notice);
    byId('login-notice').hidden = !notice;
    this.#setLoginError('');
    byId('password').value = '';
    if (email) byId('email').value = email;
    (byId('email').value ? byId('password') : byId('email')).focus();
  }

  /** Shows the dashboard; `focus` after signing in by hand, where the form that had the focus is gone. */
  showDashboard(user, { focus }) {
    byId('password').value = '';
    setText(byId('who'), user.name || user.email);
    byId('who').title = user.email;
    this.#only('dashboard');
    if (focus) byId('prospects-heading').focus();
  }

  #only(shown) {
    for (const id of ['splash', 'sign-in', 'dashboard']) byId(id).hidden = id !== shown;
  }

  #reset() {
    this.#rows.clear();
    this.#cards.clear();
    this.#loaded = false;
    byId('toasts').replaceChildren();
    this.setProblem(null);
    this.setCounts({ total: 0, byStatus: {} });
    this.setMore({ prospects: null, proposals: null });
    this.#showEmptiness();
  }

  // Header

  setCounts({ total, byStatus }) {
    const fresh = byStatus.new ?? 0;
    setText(byId('badge'), String(fresh));
    byId('badge-box').classList.toggle('none', fresh === 0);
    document.title = fresh ? `(${fresh}) Bookbell` : 'Bookbell';
    setText(byId('prospects-total'), total ? `${wholeNumber(total)} in all` : '');
  }

  setConnection(state) {
    const box = byId('connection');
    const [word, explanation] = CONNECTION_WORDS[state];
    const changed = box.dataset.state !== state;
    box.dataset.state = state;
    box.title = explanation;
    setText(byId('connection-text'), word);
    if (!changed) return;
    // Said aloud only when it lasts: a blink is not worth an interruption.
    clearTimeout(this.#announceTimer);
    this.#announceTimer = setTimeout(() => setText(byId('announcer'), `${word.replace('…', '')}. ${explanation}`), 3_000);
  }

  setProblem(text) {
    setText(byId('problem'), text ?? '');
    byId('problem').hidden = !text;
  }

  // Lists

  setMore(cursors) {
    this.#cursors = cursors;
    byId('more-prospects').hidden = !cursors.prospects;
    byId('more-proposals').hidden = !cursors.proposals;
  }

  /** Shows exactly these records; rows that stay are kept, with their focus. */
  showAll(records) {
    const rows = [...records.prospects.values()].filter((prospect) => records.inTable(prospect));
    const wanted = new Set(rows.map((prospect) => prospect.id));
    this.#rows.ids().filter((id) => !wanted.has(id)).forEach((id) => this.#rows.remove(id));
    rows.forEach((prospect) => this.showProspect(prospect.id, prospect));
    this.#cards.ids().filter((id) => !records.proposals.has(id)).forEach((id) => this.#cards.remove(id));
    records.proposals.forEach((proposal, id) => {
      this.showProposal(id, proposal, records.prospects.get(proposal.prospectId));
    });
    this.#loaded = true;
    this.#showEmptiness();
  }

  /** Shows one prospect as it is now; null takes it off the table. */
  showProspect(id, prospect, fresh = false) {
    if (!prospect) this.#rows.remove(id);
    else {
      if (!this.#rows.get(id)) this.#rows.insert(id, prospect, newRow(id));
      fillRow(this.#rows.get(id), prospect);
      if (fresh) highlight(this.#rows.get(id));
    }
    this.#showEmptiness();
  }

  /** Shows one proposal as it is now; `prospect` may not be known (yet). */
  showProposal(id, proposal, prospect, fresh = false) {
    if (!proposal) this.#cards.remove(id);
    else {
      if (!this.#cards.get(id)) this.#cards.insert(id, proposal, newCard(id, this.#on.answer));
      fillCard(this.#cards.get(id), proposal, prospect);
      if (fresh) highlight(this.#cards.get(id));
    }
    this.#showEmptiness();
  }

  /** Marks a card while its answer is on the way; `problem` says why it was refused. */
  setAnswering(id, busy, problem = '') {
    const card = this.#cards.get(id);
    if (!card) return;
    card.toggleAttribute('data-busy', busy);
    part(card, 'actions').querySelectorAll('button').forEach((button) => {
      button.setAttribute('aria-disabled', String(busy));
    });
    setText(part(card, 'error'), problem);
    part(card, 'error').hidden = !problem;
  }

  #showEmptiness() {
    const noRows = this.#rows.size === 0 && !this.#cursors.prospects;
    const noCards = this.#cards.size === 0;
    const nothing = this.#loaded && noRows;
    const focused = document.activeElement;
    byId('empty').hidden = !nothing;
    byId('prospects-section').hidden = nothing;
    byId('proposals-section').hidden = nothing && noCards;
    byId('no-proposals').hidden = !this.#loaded || !noCards;
    byId('content').classList.toggle('first-run', nothing && noCards);
    byId('jump').hidden = nothing;
    // The heading that took the focus after signing in gives way to the other one.
    if (focused === byId('prospects-heading') && nothing) byId('empty-heading').focus();
    if (focused === byId('empty-heading') && !nothing) byId('prospects-heading').focus();
  }

  #tick() {
    document.querySelectorAll('time[data-ago]').forEach((time) => setText(time, ago(time.dateTime)));
  }

  // Toasts

  /** @param {object[]} prospects those that arrived together */
  toastProspects(prospects) {
    const [first] = prospects;
    if (prospects.length === 1) this.toast('New prospect', [fullName(first), first.company], ' · ');
    else this.toast(`${prospects.length} new prospects`, [...prospects.slice(0, 3).map(fullName), prospects.length > 3 && '…'], ', ');
  }

  toast(title, texts, between = ' ') {
    const said = el('span');
    setTexts(said, texts, between);
    const box = byId('toasts');
    const close = el('button', { type: 'button', className: 'close', 'aria-label': 'Dismiss' }, '×');
    const node = el('div', { className: 'toast' },
      el('img', { src: '/assets/favicon.svg', alt: '', width: 24, height: 24 }),
      el('div', { className: 'toast-text' }, el('strong', {}, title), said), close);
    close.addEventListener('click', () => node.remove());
    box.append(node);
    while (box.children.length > MOST_TOASTS) box.firstElementChild.remove();
    const leave = () => {
      if (node.matches(':hover, :focus-within')) setTimeout(leave, 1_000);
      else node.remove();
    };
    setTimeout(leave, TOAST_MS);
  }

  // Sign-in form and first run

  #wireSignIn() {
    const form = byId('login-form');
    let busy = false;
    form.addEventListener('submit', async (event) => {
      event.preventDefault();
      if (busy) return;
      busy = true;
      const button = form.querySelector('button');
      setText(button, 'Signing in…');
      this.#setLoginError('');
      try {
        await this.#on.signIn(byId('email').value.trim(), byId('password').value);
      } catch (error) {
        this.#setLoginError(error.message);
        byId('password').focus();
        byId('password').select();
      } finally {
        busy = false;
        setText(button, 'Sign in');
      }
    });
  }

  #setLoginError(text) {
    setText(byId('login-error'), text);
    byId('login-error').hidden = !text;
    byId('password').setAttribute('aria-invalid', String(Boolean(text)));
  }

  #wireEmptyState() {
    const webhookUrl = `${location.origin}/webhooks/calendly`;
    setText(byId('webhook-url'), webhookUrl);
    setText(byId('command-serve'), 'BOOKBELL_CALENDLY_SIGNING_KEYS=try-me bookbell serve');
    // One line to copy that wraps between its options.
    byId('command-replay').append(
      el('span', {}, 'bookbell replay fixtures/'), ' ', el('span', {}, `--url ${webhookUrl}`), ' ', el('span', {}, '--key try-me'));
    document.querySelectorAll('[data-copy]').forEach((button) => {
      button.addEventListener('click', () => copy(byId(button.dataset.copy), button));
    });
  }
}

async function copy(source, button) {
  let done = true;
  try {
    await navigator.clipboard.writeText(source.textContent);
  } catch {
    // Without HTTPS there is no clipboard to write to: select the text for the reader instead.
    getSelection().selectAllChildren(source);
    done = false;
  }
  setText(button, done ? 'Copied' : 'Selected');
  setText(byId('announcer'), done ? 'Copied.' : 'Selected: copy it with your keyboard.');
  setTimeout(() => setText(button, 'Copy'), 2_000);
}

/** Marks an arrival for a while; how it looks, and whether it moves, is the style sheet's. */
function highlight(node) {
  node.classList.add('fresh');
  setTimeout(() => node.classList.remove('fresh'), FRESH_MS);
}
