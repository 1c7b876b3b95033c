// Small charts as SVG and boxes: they follow both color schemes by the style sheet, and a screen reader reads them.

import { useState } from 'preact/hooks';
import { shortDate, wholeNumber } from './format.js';
import { t } from './i18n.js';
import { html, Text } from './ui.js';

const HEIGHT = 180;
const STEP = 20;

/** Bookings a day: kept, canceled and not shown, one upon the other. @param {{days: {date, booked, canceled, noShow}[]}} props */
export function Bars({ days }) {
  const [at, setAt] = useState(null);
  const most = Math.max(1, ...days.map((day) => day.booked));
  const top = niceTop(most);
  const width = days.length * STEP;
  const chosen = days[at] ?? null;
  return html`<div class="bars">
    <div class="legend" aria-hidden="true">${['kept', 'canceled', 'no_show'].map((part) => html`<span key=${part} data-part=${part}>${t(`chart.${part}`)}</span>`)}
      <output class="reading">${chosen && reading(chosen)}</output></div>
    <div class="plot"><div class="axis" aria-hidden="true"><span>${wholeNumber(top)}</span><span>${wholeNumber(top / 2)}</span><span>0</span></div>
    <svg viewBox=${`0 0 ${width} ${HEIGHT}`} preserveAspectRatio="none" role="img" aria-label=${t('chart.label', { n: days.reduce((sum, day) => sum + day.booked, 0), days: days.length })}
      onPointerLeave=${() => setAt(null)}>
      ${[0, 0.5, 1].map((y) => html`<line key=${y} class="grid" x1="0" x2=${width} y1=${HEIGHT * y} y2=${HEIGHT * y} />`)}
      ${days.map((day, i) => html`<${Bar} key=${day.date} day=${day} x=${i * STEP} scale=${HEIGHT / top} chosen=${i === at} onOver=${() => setAt(i)} />`)}
    </svg></div>
    <div class="ticks" aria-hidden="true">${ticks(days).map((date) => html`<span key=${date}>${shortDate(`${date}T12:00:00`)}</span>`)}</div>
    <table class="sr"><caption>${t('numbers.bookings')}</caption><thead><tr><th scope="col">${t('column.day')}</th><th scope="col">${t('chart.booked')}</th><th scope="col">${t('chart.canceled')}</th><th scope="col">${t('chart.no_show')}</th></tr></thead>
      <tbody>${days.filter((day) => day.booked || day.canceled || day.noShow).map((day) => html`<tr key=${day.date}><th scope="row">${shortDate(`${day.date}T12:00:00`)}</th><td>${day.booked}</td><td>${day.canceled}</td><td>${day.noShow}</td></tr>`)}</tbody></table>
  </div>`;
}

function Bar({ day, x, scale, chosen, onOver }) {
  const kept = Math.max(0, day.booked - day.canceled - day.noShow);
  let y = HEIGHT;
  const parts = [['kept', kept], ['canceled', day.canceled], ['no_show', day.noShow]].map(([part, n]) => {
    y -= n * scale;
    return html`<rect key=${part} data-part=${part} x=${x + 3} width=${STEP - 6} y=${y} height=${n * scale} />`;
  });
  return html`<g class=${chosen ? 'chosen' : ''} onPointerEnter=${onOver}><rect class="hit" x=${x} width=${STEP} y="0" height=${HEIGHT} />${parts}</g>`;
}

function reading(day) {
  return `${shortDate(`${day.date}T12:00:00`)}: ${t('chart.reading', { n: day.booked, canceled: day.canceled, noShow: day.noShow })}`;
}

/** The next round number that halves well. */
function niceTop(most) {
  const power = 10 ** Math.floor(Math.log10(most));
  return [2, 4, 6, 10].map((n) => n * power).find((n) => n >= most) ?? most;
}

function ticks(days) {
  const wanted = Math.min(5, days.length);
  return Array.from({ length: wanted }, (_, i) => days[Math.round((i * (days.length - 1)) / Math.max(1, wanted - 1))].date);
}

/** Names with their numbers, the largest first. @param {{rows: [string, number][]}} props */
export function Ranking({ rows }) {
  const sorted = [...rows].sort((a, b) => b[1] - a[1]).slice(0, 8);
  const most = Math.max(1, ...sorted.map(([, n]) => n));
  if (sorted.length === 0) return html`<p class="muted">${t('chart.none')}</p>`;
  return html`<ol class="ranking">${sorted.map(([name, n]) => html`<li key=${name}><span class="rank-name"><${Text}>${name}<//></span><span class="rank-n">${wholeNumber(n)}</span>
    <span class="rank-bar" aria-hidden="true"><span style=${{ width: `${(n / most) * 100}%` }}></span></span></li>`)}</ol>`;
}
