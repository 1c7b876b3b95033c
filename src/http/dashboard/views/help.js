// Every keyboard shortcut on one page.

import { t } from '../i18n.js';
import { isAdmin } from '../store.js';
import { Dialog, html } from '../ui.js';

const SHORTCUTS = [
  ['help.anywhere', [['?', 'help.help'], ['/', 'help.search'], ['g p', 'help.prospects'], ['g a', 'help.agenda'], ['g n', 'help.numbers'],
    ['g d', 'help.deliveries'], ['i', 'help.incoming'], [',', 'help.settings'], ['Esc', 'help.close']]],
  ['help.list', [['j', 'help.down'], ['k', 'help.up'], ['Enter', 'help.open'], ['n', 'help.new']]],
  ['help.panel', [['e', 'help.edit'], ['j  k', 'help.walk'], ['Esc', 'help.back']]],
];

export function Help({ onClose }) {
  const allowed = ([keys]) => keys !== 'g d' || isAdmin.value;
  return html`<${Dialog} label=${t('help.title')} onClose=${onClose}>
    <div class="shortcuts">
      ${SHORTCUTS.map(([title, rows]) => html`<section key=${title}><h3>${t(title)}</h3><dl>
        ${rows.filter(allowed).map(([keys, text]) => html`<div key=${keys}>
          <dt>${keys.split(/\s+/).map((key) => html`<kbd>${key}</kbd>`)}</dt><dd>${t(text)}</dd></div>`)}
      </dl></section>`)}
    </div><//>`;
}
