// The dashboard in real Chromium, one scenario a run: tests/README.md. Prints JSON lines, ends with 0 when all held.
import assert from "node:assert/strict";
import { stripVTControlCharacters } from "node:util";
import { launch } from "./desk.mjs";
import { exit, print } from "./lines.mjs";
import { access } from "./scenarios/access.mjs";
import { crowd } from "./scenarios/crowd.mjs";
import { deliveries } from "./scenarios/deliveries.mjs";
import { first } from "./scenarios/first.mjs";
import { gap } from "./scenarios/gap.mjs";
import { hostile } from "./scenarios/hostile.mjs";
import { proposals } from "./scenarios/proposals.mjs";
import { together } from "./scenarios/together.mjs";
import { desk, pages, scenario } from "./stage.mjs";

const scenarios = { first, together, proposals, gap, hostile, deliveries, access, crowd };
const browser = await launch();
try {
  await desk.signInByApi();
  await scenarios[scenario](browser);
  for (const page of pages) assert.deepEqual(page.faults, []);
  print({ type: "done", scenario });
  await browser.close();
  await exit(0);
} catch (error) {
  const seen = await Promise.all(pages.map((page) => page.evaluate(() => `${location.hash} ${document.body.innerText.slice(0, 600)}`).catch(() => null)));
  print({ type: "error", message: stripVTControlCharacters(error.stack ?? String(error)), faults: pages.map((page) => page.faults), seen });
  await browser.close();
  await exit(1);
}
