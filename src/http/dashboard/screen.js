// Measures, in this browser, how long what happens takes to be seen, and reports it now and then.
//
// A sample is the time from `meta.at`, when the server committed the event (a few milliseconds after the
// delivery was received), to the first frame after the page has drawn it. The server's time is compared with
// this machine's through `clock`, to within UNSURE_MS. Replayed events are left out: they waited for us.

import { clock } from './clock.js';
import { ApiError } from './api.js';
import { write } from './session.js';
import { onEvents } from './sync.js';

/** How far the comparison of the two clocks may be off. */
export const UNSURE_MS = 20;
const REPORT_MS = 20_000;
const MOST = 100;

/** Milliseconds from the server's `at` to this machine's clock, not yet corrected. */
let samples = [];
let reporting = false;
/** The server has no place for them. */
let unwanted = false;

/** When this page drew what happened last to a record: `{at, shown}` by id, for the delivery inspector. */
const drawn = new Map();

/** This machine's time at which a change of one of these records, made soon after `received`, was drawn here. */
export function seenHere(ids, received) {
  const found = ids.map((id) => drawn.get(id)).find((one) => one && one.at >= received && one.at - received < 5_000);
  return found?.shown ?? null;
}

function noteDrawn(events, now) {
  for (const { payload, meta } of events) {
    drawn.set(payload.appointmentId ?? payload.id, { at: Date.parse(meta.at), shown: now });
    if (drawn.size > 1_000) drawn.delete(drawn.keys().next().value);
  }
}

onEvents((events) => {
  const lives = events.filter((event) => event.live);
  if (lives.length === 0 || document.hidden) return;
  // Lists are drawn before the next frame; the task after that frame runs when it has been handed to the screen.
  requestAnimationFrame(() => setTimeout(() => {
    const now = Date.now();
    noteDrawn(lives, now);
    samples = [...samples, ...lives.map(({ meta }) => now - Date.parse(meta.at))].slice(-MOST);
    if (!reporting && !unwanted) report();
  }));
});

async function report() {
  reporting = true;
  await Promise.all([clock.settle(UNSURE_MS), new Promise((resolve) => { setTimeout(resolve, REPORT_MS); })]);
  reporting = false;
  const corrected = samples.map((sample) => Math.round(sample + clock.offset)).filter((ms) => ms >= 0);
  samples = [];
  if (clock.uncertainty > UNSURE_MS || corrected.length === 0) return;
  try {
    await write('POST', '/api/statistics/screen', { samples: corrected });
  } catch (error) {
    unwanted = error instanceof ApiError && error.status === 404;
  }
}
