// The way in: signs in or takes up the session, opens the desk, and comes back here when the session ends.

import { Session } from './api.js';
import { Desk } from './desk.js';
import { View } from './view.js';

const ENDED = {
  logged_out: 'You signed out in another tab or on another device.',
  session_revoked: 'Your session was ended. Please sign in again.',
  expired: 'Your session has ended. Please sign in again.',
};

let desk = null;
let lastEmail = '';

const session = new Session({ onEnded: () => leave(ENDED.expired) });
const view = new View({
  signIn: async (email, password) => {
    await session.signIn(email, password);
    enter({ focus: true });
  },
  signOut: async () => {
    try {
      await session.signOut();
      leave('');
    } catch (error) {
      view.toast('You are still signed in', [error.message]);
    }
  },
  answer: (id, action) => desk?.answer(id, action),
  more: (list) => desk?.more(list),
});

function enter({ focus }) {
  lastEmail = session.user.email;
  view.showDashboard(session.user, { focus });
  desk = new Desk(session, view, (code) => {
    session.drop();
    leave(ENDED[code] ?? ENDED.expired);
  });
  desk.start();
}

function leave(notice) {
  desk?.close();
  desk = null;
  view.showSignIn({ notice, email: lastEmail });
}

/** Resumes the session of a former page, for as long as it takes to reach the server. */
async function begin() {
  for (let failures = 0; ; failures++) {
    try {
      if (await session.resume()) enter({ focus: false });
      else view.showSignIn();
      return;
    } catch (error) {
      view.showSplash(`${error.message} Trying again…`);
      await new Promise((resolve) => { setTimeout(resolve, Math.min(10_000, 1_000 * 2 ** failures)); });
    }
  }
}

begin();
