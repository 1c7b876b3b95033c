// The way in: takes up the session or asks for it, opens the desk, and comes back here when the session ends.

import { render } from 'preact';
import { forgetArrivals } from './arrivals.js';
import './screen.js';
import { loadUsers } from './people.js';
import { loadRead } from './read.js';
import { onSessionEnd, session } from './session.js';
import { NO_FILTER, notice, prospectFilter, stage, user } from './store.js';
import { follow, stop } from './sync.js';
import { explain } from './i18n.js';
import { html } from './ui.js';
import { Login } from './views/login.js';
import { Shell } from './views/shell.js';
import { Toasts } from './views/notifications.js';

function App() {
  if (stage.value === 'starting') return html`<p class="splash" role="status">${notice.value}</p>`;
  return html`${stage.value === 'login' ? html`<${Login} onSignIn=${signIn} />` : html`<${Shell} onSignOut=${signOut} />`}
    <${Toasts} />`;
}

async function signIn(email, password) {
  await session.signIn(email, password);
  enter();
}

async function signOut() {
  await session.signOut();
  leave('');
}

/** Whose records the page showed last: somebody else begins without that person's filter. */
let lastUser = null;

function enter() {
  user.value = session.user;
  if (lastUser !== user.value.id) prospectFilter.value = NO_FILTER;
  lastUser = user.value.id;
  notice.value = '';
  loadRead();
  loadUsers();
  follow(leave);
  stage.value = 'desk';
}

/** Back to the form. Where one was stays in the address, and one returns there. */
function leave(code) {
  stop();
  forgetArrivals();
  session.drop();
  user.value = null;
  notice.value = code && `ended.${code}`;
  stage.value = 'login';
}

/** Resumes the session of a former page, for as long as it takes to reach the server. */
async function begin() {
  for (let failures = 0; ; failures += 1) {
    try {
      if (await session.resume()) return enter();
      notice.value = '';
      stage.value = 'login';
      return undefined;
    } catch (error) {
      notice.value = explain(error);
      await new Promise((resolve) => { setTimeout(resolve, Math.min(10_000, 1_000 * 2 ** failures)); });
    }
  }
}

onSessionEnd(leave);
render(html`<${App} />`, document.getElementById('app'));
begin();
