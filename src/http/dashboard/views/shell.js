// What stands around every view: header, navigation, connection, the panel beside, dialogs, announcements.

import { useEffect, useRef } from 'preact/hooks';
import { explain, t } from '../i18n.js';
import { bind } from '../keys.js';
import { connection, counts, go, href, isAdmin, newCount, open, prospectFilter, route, trouble, user } from '../store.js';
import { Announcer, Button, html, Icon, Logo } from '../ui.js';
import { Deliveries } from './deliveries.js';
import { FirstRun } from './first-run.js';
import { Help } from './help.js';
import { Incoming, IncomingSheet, recent, useIncoming } from './notifications.js';
import { Numbers } from './numbers.js';
import { Agenda } from './proposals.js';
import { ProspectPanel } from './prospect-panel.js';
import { Prospects, useProspects } from './prospects.js';
import { Settings } from './settings-dialog.js';

const VIEWS = [
  { view: 'prospects', icon: 'people', key: 'p' },
  { view: 'agenda', icon: 'calendar', key: 'a' },
  { view: 'numbers', icon: 'chart', key: 'n' },
  { view: 'deliveries', icon: 'inbox', key: 'd', admin: true },
];

export function Shell({ onSignOut }) {
  const prospects = useProspects();
  const incoming = useIncoming();
  const views = VIEWS.filter((one) => !one.admin || isAdmin.value);
  const { view, id } = views.some((one) => one.view === route.value.view) ? route.value : { view: 'prospects', id: null };
  const empty = counts.value?.total === 0;
  useShortcuts(views);
  const content = useRef(null);

  const panel = id && (view === 'deliveries' ? 'panel-open panel-wide' : 'panel-open');
  return html`<div class=${`shell ${panel ?? ''}`}>
    <a class="skip" href="#content" onClick=${(event) => { event.preventDefault(); content.current.focus(); }}>${t('skip')}</a>
    <${Header} views=${views} view=${view} incoming=${incoming} />
    <${Strip} />
    <main id="content" class=${`content view-${empty && !id && view === 'prospects' ? 'first-run' : view}`} tabIndex="-1" ref=${content}>
      ${view === 'prospects' && (empty && !id ? html`<${FirstRun} />` : html`<div class="with-rail">
        <${Prospects} list=${prospects} selected=${id} /><${Rail} incoming=${incoming} /></div>`)}
      ${view === 'agenda' && html`<${Agenda} />`}
      ${view === 'numbers' && html`<${Numbers} />`}
      ${view === 'deliveries' && html`<${Deliveries} selected=${id} />`}
    </main>
    ${id && (view === 'prospects' || view === 'agenda') && html`<${ProspectPanel} id=${id} view=${view} />`}
    ${open.value === 'help' && html`<${Help} onClose=${closeDialog} />`}
    ${open.value === 'settings' && html`<${Settings} onClose=${closeDialog} onSignOut=${onSignOut} />`}
    ${open.value === 'incoming' && html`<${IncomingSheet} incoming=${incoming} onClose=${closeDialog} />`}
    <${Announcer} />
  </div>`;
}

const closeDialog = () => { open.value = ''; };

function useShortcuts(views) {
  useEffect(() => {
    const unbind = [
      bind('?', () => { open.value = 'help'; }),
      bind(',', () => { open.value = 'settings'; }),
      bind('i', () => { open.value = 'incoming'; }),
      ...views.map((one) => bind(`g ${one.key}`, () => go(one.view))),
    ];
    return () => unbind.forEach((one) => one());
  }, [views.length]);
}

function Header({ views, view, incoming }) {
  return html`<header class="bar">
    <a class="brand" href=${href('prospects')}><${Logo} /><span>Bookbell</span></a>
    <${Badge} />
    <nav class="nav" aria-label=${t('nav')}>
      ${views.map((one) => html`<a key=${one.view} href=${href(one.view)} aria-current=${one.view === view ? 'page' : null}>
        <${Icon} name=${one.icon} /><span>${t(`nav.${one.view}`)}</span></a>`)}
    </nav>
    <div class="bar-end">
      <${Connection} />
      <${Ringer} incoming=${incoming} besideRail=${view === 'prospects'} />
      <${Button} icon="help" iconOnly kind="quiet hide-narrow" label=${t('help.title')} onClick=${() => { open.value = 'help'; }} />
      <${Button} icon="sliders" iconOnly kind="quiet" label=${t('settings.title')} onClick=${() => { open.value = 'settings'; }} />
      <span class="who" title=${user.value.email} dir="auto">${user.value.name || user.value.email}</span>
    </div>
  </header>`;
}

/** Opens what has just come in, where it has no place beside the view. */
function Ringer({ incoming, besideRail }) {
  const n = recent(incoming).shown.length;
  return html`<div class=${`ringer ${besideRail ? 'beside-rail' : ''}`}>
    <${Button} icon="bell" iconOnly kind="quiet" label=${t('incoming.button', { n })} onClick=${() => { open.value = 'incoming'; }} />
    ${n > 0 && html`<span class="dot-count" aria-hidden="true">${n}</span>`}</div>`;
}

/** The server's count of new prospects. It pops when it changes. */
function Badge() {
  const n = newCount.value;
  const show = () => {
    prospectFilter.value = { ...prospectFilter.value, status: 'new', search: '' };
    go('prospects');
  };
  return html`<button type="button" class=${`badge ${n ? '' : 'none'}`} onClick=${show}>
    <span key=${n} class="count" data-testid="badge">${n}</span> <span>${t('badge', { n })}</span></button>`;
}

function Connection() {
  const state = connection.value;
  return html`<p class="connection" data-testid="connection" data-state=${state} title=${t(`connection.${state}.long`)}>
    <span class="dot" aria-hidden="true"></span><span class="sr">${t('connection')} </span><span class="word">${t(`connection.${state}`)}</span></p>`;
}

/** What happens while the connection is away, and what went wrong with loading. Shown only when it lasts. */
function Strip() {
  const state = connection.value;
  const text = trouble.value ? t('trouble', { why: explain(trouble.value) }) : t(`connection.${state}.long`);
  return html`<p class=${`strip ${state === 'live' && !trouble.value ? '' : 'shown'}`} role="status">${state === 'live' && !trouble.value ? '' : text}</p>`;
}

/** Beside the prospects on a wide screen: what has just come in, and what is next. */
function Rail({ incoming }) {
  return html`<aside class="rail" aria-label=${t('incoming.title')}><${Incoming} incoming=${incoming} /></aside>`;
}
